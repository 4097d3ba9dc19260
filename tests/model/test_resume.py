"""A training that was killed goes on from its last finished epoch and ends as it would have ended."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from stages.model import training
from stages.model.history import Training
from stages.model.resume import CODE, Fingerprint, fingerprint
from stages.model.state import TrainingState
from stages.splits.packed import Split
from tests.defaults import EVERY_PART_OF_A_RECIPE
from tests.trainings import SMALL, digest, recipe

pytestmark = pytest.mark.slow


class Killed(BaseException):
    """Stands for the end of the process right after an epoch's resume point is on disk."""


# Every rule has to act, and every optional part to be on, so that a counter or a variable that was lost would show.
PLATEAU = {"schedule": {"kind": "plateau", "factor": 0.5, "patience": 2, "min_delta": 0.05}}


def run(
    path: Path, train: Split, validation: Split, kill_after: int | None = None, **changes: Any
) -> tuple[str, Training]:
    def on_epoch(state: TrainingState) -> None:
        if len(state.history) == kill_after:
            raise Killed

    network = SMALL.model_copy(update={"dropout": 0.3, "batch_normalization": True})
    stop = {"patience": 4, "min_delta": 0.0}
    by = recipe(**{"epochs": 9, "learning_rate": 0.05, "early_stopping": stop} | PLATEAU | changes)
    trained = training.train(network, by, 1, train, validation, on_epoch=on_epoch, resume_at=path)
    return digest(trained.network), trained.course


@pytest.mark.parametrize(
    "changes", [{}, {"optimizer": "adam"}, EVERY_PART_OF_A_RECIPE], ids=["sgd", "adam", "everything"]
)
@pytest.mark.parametrize("epochs", [1, 4])
def test_a_killed_training_ends_in_equal_weights(
    tmp_path: Path, training_split: Split, validation_split: Split, changes: dict[str, Any], epochs: int
) -> None:
    splits = training_split, validation_split
    whole = run(tmp_path / "whole.npz", *splits, **changes)
    with pytest.raises(Killed):
        run(tmp_path / "point.npz", *splits, kill_after=epochs, **changes)
    assert run(tmp_path / "point.npz", *splits, **changes) == whole


def test_a_point_of_other_inputs_is_discarded_and_said_so(
    tmp_path: Path, training_split: Split, validation_split: Split, capsys: pytest.CaptureFixture[str]
) -> None:
    run(tmp_path / "point.npz", training_split, validation_split)
    capsys.readouterr()
    _, course = run(tmp_path / "point.npz", training_split, validation_split, learning_rate=0.04)
    assert "discards" in capsys.readouterr().out
    assert course.epochs[0].learning_rate == 0.04


@pytest.mark.parametrize(
    "damaged",
    [
        lambda content: b"",
        lambda content: content[:10],
        lambda content: content[:1000],
        lambda content: content[:-10],
        # In the directory of the zip, a way of compression that nobody knows.
        lambda content: re.sub(rb"(PK\x01\x02.{6})\0\0", rb"\1\007\0", content, count=1, flags=re.DOTALL),
    ],
)
def test_a_damaged_point_is_discarded_and_said_so(
    tmp_path: Path,
    training_split: Split,
    validation_split: Split,
    capsys: pytest.CaptureFixture[str],
    damaged: Callable[[bytes], bytes],
) -> None:
    point = tmp_path / "point.npz"
    whole = run(point, training_split, validation_split)
    point.write_bytes(damaged(point.read_bytes()))
    capsys.readouterr()
    assert run(point, training_split, validation_split) == whole
    assert "(damaged: " in capsys.readouterr().out


def test_the_fingerprint_is_of_the_code_that_dvc_names_as_that_of_train() -> None:
    deps = yaml.safe_load(Path("dvc.yaml").read_text())["stages"]["train"]["deps"]
    assert {f"stages/{name}" for name in CODE} == {dep for dep in deps if dep.startswith("stages/")}


@pytest.mark.parametrize("file", ["__init__.py", "train.py", "model/steps.py", "common/files.py"])
def test_a_training_does_not_go_on_after_a_change_of_its_code(file: str, tmp_path: Path) -> None:
    shutil.copytree("stages", tmp_path / "stages", ignore=shutil.ignore_patterns("__pycache__"))
    program = "from stages.model.resume import fingerprint; print(fingerprint(1, [], []).code)"
    codes = set()
    for text in ("", "", "# a line"):
        with (tmp_path / "stages" / file).open("a") as appended:
            appended.write(text)
        done = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, check=True)
        codes.add(done.stdout)
    assert len(codes) == 2


def test_the_fingerprint_tells_parameters_and_data_apart(training_split: Split, validation_split: Split) -> None:
    def of(seed: int = 1, train: Split = training_split, **changes: Any) -> Fingerprint:
        return fingerprint(seed, [recipe(**changes)], [train, validation_split])

    image_changed = np.array(training_split.images)
    image_changed[0, 0, 0, 0] ^= 1
    other = Split(
        image_changed, *(getattr(training_split, name) for name in ("labels", "classes", "folder_sizes", "image_names"))
    )
    assert of() == of()
    assert len({of(), of(seed=2), of(momentum=0.8), of(train=other), of(parts=3)}) == 5
