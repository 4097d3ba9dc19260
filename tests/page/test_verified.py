"""What verify found, read back: the metrics, and the images that a warning of near duplicates names."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from stages.common.console import UserError
from stages.common.files import write_csv, write_json
from stages.page.verified import load_metrics, sample_pairs
from stages.splits.packed import Split

HEADER = ("check", "subject", "problem", "partner", "listed", "found")


def split(folder: str, count: int) -> Split:
    random = np.random.default_rng(count)
    names = tuple(f"{folder}/c/{index}.png" for index in range(count))
    images = random.integers(0, 256, (count, 8, 8, 3), dtype=np.uint8)
    return Split(images, np.zeros(count, np.int32), ("c",), (count,), names)


TRAIN, TEST = split("train1", 30), split("test", 20)
OTHER_WARNING = ("channel_drift", "test", "differs", "", 1, 1)


def test_the_pairs_have_the_images_that_the_warnings_name(tmp_path: Path) -> None:
    file = tmp_path / "warnings.csv"
    rows = [
        OTHER_WARNING,
        ("near_duplicate", "train1/c/7.png", "in any words", "train1/c/3.png", 1, 1),
        ("near_leakage", "test/c/9.png", "", "train1/c/5.png", 1, 1),
    ]
    write_csv(file, HEADER, rows)
    within, across = sample_pairs(file, [TRAIN, TEST], 8)
    assert (within.check, within.names) == ("near_duplicate", ("train1/c/7.png", "train1/c/3.png"))
    assert (across.check, across.names) == ("near_leakage", ("test/c/9.png", "train1/c/5.png"))
    assert np.array_equal(within.images, [TRAIN.images[7], TRAIN.images[3]])
    assert np.array_equal(across.images, [TEST.images[9], TRAIN.images[5]])


def test_of_many_pairs_some_are_taken_evenly_over_the_list(tmp_path: Path) -> None:
    file = tmp_path / "warnings.csv"
    write_csv(
        file,
        HEADER,
        [("near_duplicate", f"train1/c/{i}.png", "", "train1/c/0.png", 12, 12) for i in range(1, 13)],
    )
    assert [pair.names[0] for pair in sample_pairs(file, [TRAIN], 3)] == [f"train1/c/{i}.png" for i in (1, 5, 9)]


def test_a_list_without_near_duplicates_gives_no_pairs(tmp_path: Path) -> None:
    write_csv(tmp_path / "warnings.csv", HEADER, [OTHER_WARNING])
    assert sample_pairs(tmp_path / "warnings.csv", [TRAIN], 8) == []


def test_a_missing_list_and_one_of_other_images_are_errors_that_name_it(tmp_path: Path) -> None:
    file = tmp_path / "warnings.csv"
    with pytest.raises(UserError, match=rf"{re.escape(str(file))}.*run `dvc repro verify`"):
        sample_pairs(file, [TRAIN], 8)
    write_csv(file, HEADER, [("near_duplicate", "other/c/1.png", "", "other/c/0.png", 1, 1)])
    with pytest.raises(UserError, match=r"other/c/1\.png"):
        sample_pairs(file, [TRAIN], 8)


def test_metrics_are_read_and_missing_or_broken_ones_are_an_error(tmp_path: Path) -> None:
    file = tmp_path / "dataset.json"
    with pytest.raises(UserError, match="run `dvc repro verify`"):
        load_metrics(file)
    file.write_text("not JSON")
    with pytest.raises(UserError, match="holds no metrics of a dataset"):
        load_metrics(file)
    write_json(file, {"classes": 3})
    assert load_metrics(file) == {"classes": 3}
