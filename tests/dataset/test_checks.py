"""Each check finds what it is for in a tiny dataset, and nothing in a sound one."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from scipy.stats import chi2_contingency, ttest_ind

from stages.dataset import checks
from stages.dataset.checks import CHECKS, Issue
from stages.dataset.decoding import decode, tasks_of
from stages.dataset.image_folders import list_images
from stages.dataset.inspection import Inspection
from stages.dataset.settings import Dataset
from stages.splits import packed
from tests.defaults import SETTINGS, parameter_values

SIZE = 32
FOLDERS = ("a", "b", "c")  # of the splits train, validation and test
DATASET = SETTINGS.dataset.model_copy(
    update={"root": "root", "train": ("a",), "validation": ("b",), "test": ("c",), "classes": 2, "images_per_folder": 4}
)


def picture(seed: int) -> NDArray[np.uint8]:
    """Smooth noise, as unlike any other as two photographs are."""
    small = np.random.default_rng(seed).integers(0, 256, (6, 6, 3), dtype=np.uint8)
    return np.asarray(Image.fromarray(small).resize((SIZE, SIZE), Image.Resampling.BICUBIC))


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A sound dataset: in each of three folders two classes of two images."""
    root = tmp_path / "root"
    for seed, path in enumerate(f"{folder}/{name}/{file}" for folder in FOLDERS for name in "xy" for file in "12"):
        save(root / f"{path}.png", picture(seed))
    return root


def save(path: Path, pixels: NDArray[np.uint8]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)


def inspect(root: Path, dataset: Dataset = DATASET) -> Inspection:
    folders = {split: tuple(list_images(root, name) for name in names) for split, names in dataset.splits.items()}
    tasks = []
    for split, split_folders in folders.items():
        part = root.parent / split
        part.mkdir(exist_ok=True)
        packed.allocate_images(part, sum(len(folder.members) for folder in split_folders), SIZE)
        tasks += tasks_of(split_folders, part, SIZE)
    images = decode(tasks, 1, lambda count: None)
    return Inspection(folders, images, dataset.thresholds)


def found(root: Path, dataset: Dataset = DATASET) -> dict[str, list[Issue]]:
    """The issues of each check that has any."""
    inspection = inspect(root, dataset)
    issues = {name: list(check(inspection, dataset)) for name, check in CHECKS.items()}
    return {name: found for name, found in issues.items() if found}


def test_the_parameters_have_a_severity_for_each_check_in_their_order() -> None:
    assert list(parameter_values()["dataset"]["checks"]) == list(CHECKS)


def test_a_sound_dataset_has_no_issue(root: Path) -> None:
    assert found(root) == {}


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-300])


@pytest.mark.parametrize(
    ("harm", "expected"),
    [
        (
            lambda root: shutil.rmtree(root / "b"),
            {"missing_folder": [Issue("b", "is missing: there is no folder root/b/ and no root/b.zip")]},
        ),
        (
            lambda root: (root / "b").rename(root / "other") and (root / "b").mkdir(),
            {"missing_folder": [Issue("b", "is empty: it has no class folders")]},
        ),
        (
            lambda root: [(root / f"c/y/{file}.png").unlink() for file in "12"],
            {
                "empty_class": [Issue("c/y", "has no images")],
                "folder_size": [Issue("c", "has 2 images; dataset.images_per_folder says 4")],
            },
        ),
        (
            lambda root: shutil.rmtree(root / "c/y"),
            {
                "class_set": [Issue("c", "lacks classes that other folders have: y")],
                "class_count": [Issue("c", "has 1 class; dataset.classes says 2")],
                "folder_size": [Issue("c", "has 2 images; dataset.images_per_folder says 4")],
            },
        ),
        (
            lambda root: (root / "a/x/1.png").write_text("a text file named .png"),
            {"unreadable_image": [Issue("a/x/1.png", "is no PNG, JPEG, WEBP, GIF or BMP image")]},
        ),
        (
            lambda root: cut(root / "b/y/2.png"),
            {"unreadable_image": [Issue("b/y/2.png", "can't be decoded: image file is truncated")]},
        ),
        (
            lambda root: (root / "a/x/3.png").symlink_to("/dev/null"),
            {"unsafe_file": [Issue("a/x/3.png", "is a link out of the dataset")]},
        ),
        (
            lambda root: (root / "a/notes.txt").touch(),
            {"misplaced_file": [Issue("a/notes.txt", "lies outside of the class folders")]},
        ),
        (
            lambda root: save(root / "a/x/1.png", picture(99)[:, :20, 0]),
            {"converted_image": [Issue("a/x/1.png", "resized from 20x32, converted from mode L")]},
        ),
        (
            lambda root: save(root / "a/x/1.png", np.full((SIZE, SIZE, 3), (1, 2, 200), np.uint8)),
            {"blank_image": [Issue("a/x/1.png", "is blank: red 1, green 2, blue 200 all over")]},
        ),
        (
            lambda root: save(root / "a/x/2.png", picture(0)),
            {"exact_duplicate": [Issue("a/x/2.png", "has the pixels of a/x/1.png", "a/x/1.png")]},
        ),
        (
            lambda root: save(root / "c/x/2.png", picture(0)),
            {"leakage": [Issue("c/x/2.png", "has the pixels of a/x/1.png, which is in another split", "a/x/1.png")]},
        ),
        (
            lambda root: save(root / "a/y/2.png", picture(0)),
            {
                "exact_duplicate": [Issue("a/y/2.png", "has the pixels of a/x/1.png", "a/x/1.png")],
                "label_conflict": [
                    Issue("a/y/2.png", "has the pixels of a/x/1.png, which has another label", "a/x/1.png")
                ],
            },
        ),
        (
            lambda root: save(root / "a/y/2.png", picture(0) // 2 + 40),
            {"near_duplicate": [Issue("a/y/2.png", "shows nearly the same picture as a/x/1.png", "a/x/1.png")]},
        ),
        (
            lambda root: save(root / "b/x/1.png", picture(0) // 2 + 40),
            {
                "near_leakage": [
                    Issue(
                        "b/x/1.png",
                        "shows nearly the same picture as a/x/1.png, which is in another split",
                        "a/x/1.png",
                    )
                ]
            },
        ),
    ],
    ids=lambda value: " and ".join(value) if isinstance(value, dict) else "",
)
def test_a_harm_is_found_and_nothing_else(
    root: Path, harm: Callable[[Path], object], expected: dict[str, list[Issue]]
) -> None:
    harm(root)
    issues = found(root)
    if "unreadable_image" in issues:  # Pillow adds how many bytes it missed
        issues["unreadable_image"] = [Issue(name, text.split(" (")[0]) for name, text, _ in issues["unreadable_image"]]
    assert issues == expected


def test_a_folder_of_one_class_is_an_issue_whatever_is_expected(root: Path) -> None:
    for folder in FOLDERS:
        shutil.rmtree(root / folder / "y")
    any_number = DATASET.model_copy(update={"classes": None, "images_per_folder": None})
    assert found(root, any_number) == {
        "class_count": [Issue(folder, "has one class; there is nothing to tell apart") for folder in FOLDERS]
    }


def test_copies_in_all_splits_are_told_once_for_each(root: Path) -> None:
    for path in ("a/x/2", "b/x/1", "b/x/2", "c/y/1"):
        save(root / f"{path}.png", picture(0))
    issues = found(root)
    assert [issue.subject for issue in issues["exact_duplicate"]] == ["a/x/2.png", "b/x/2.png"]
    assert [issue.subject for issue in issues["leakage"]] == ["b/x/1.png", "b/x/2.png", "c/y/1.png"]
    assert [issue.subject for issue in issues["label_conflict"]] == ["c/y/1.png"]


def test_unreadable_images_are_no_copies_of_each_other(root: Path) -> None:
    for path in ("a/x/1.png", "a/x/2.png", "c/x/1.png"):
        (root / path).write_bytes(b"")
    assert list(found(root)) == ["unreadable_image"]


def striped(seed: int, axis: int) -> NDArray[np.uint8]:
    """A picture of twice the size with stripes of a pixel along an axis, which halving it takes away."""
    large = np.kron(picture(seed) // 2 + 60, np.ones((2, 2, 1), np.uint8)).astype(np.int16)
    stripes = 30 * np.where(np.arange(2 * SIZE) % 2, 1, -1)
    stripes[[0, -1]] = -20, 20  # the bilinear filter's weights are 1, 3, 3, 1, and at the border 3, 3, 1
    striped: NDArray[np.uint8] = (large + np.expand_dims(stripes, (1 - axis, 2))).astype(np.uint8)
    return striped


@pytest.mark.parametrize("zipped", [False, True])
def test_images_that_are_equal_only_once_they_are_resized_are_said_to_be_so(root: Path, zipped: bool) -> None:
    save(root / "a/x/1.png", striped(99, axis=0))
    save(root / "a/x/2.png", striped(99, axis=1))
    save(root / "b/y/1.png", striped(99, axis=1))
    if zipped:
        for folder in "ab":
            shutil.make_archive(str(root / folder), "zip", root / folder)
            shutil.rmtree(root / folder)
    issues = found(root)
    assert set(issues) == {"converted_image", "exact_duplicate", "leakage", "label_conflict"}
    assert issues["exact_duplicate"] == [
        Issue("a/x/2.png", "has at 32x32 the pixels of a/x/1.png; at full size they differ", "a/x/1.png")
    ]
    # Of two such images the one that is equal in its file is named.
    assert issues["leakage"] == [
        Issue("b/y/1.png", "has the pixels of a/x/2.png, which is in another split", "a/x/2.png")
    ]
    assert issues["label_conflict"] == [
        Issue("b/y/1.png", "has the pixels of a/x/2.png, which has another label", "a/x/2.png")
    ]


def test_a_leak_and_a_conflict_of_images_that_differ_in_their_files_say_so(root: Path) -> None:
    save(root / "a/x/1.png", striped(99, axis=0))
    save(root / "c/y/1.png", striped(99, axis=1))
    issues = found(root)
    said = "has at 32x32 the pixels of a/x/1.png, which {}; at full size they differ"
    assert issues["leakage"] == [Issue("c/y/1.png", said.format("is in another split"), "a/x/1.png")]
    assert issues["label_conflict"] == [Issue("c/y/1.png", said.format("has another label"), "a/x/1.png")]


def test_an_image_and_its_enlargement_differ_at_full_size(root: Path) -> None:
    flat = np.full((SIZE, SIZE, 3), 90, np.uint8)
    save(root / "a/x/1.png", flat)
    save(root / "a/x/2.png", np.full((2 * SIZE, SIZE, 3), 90, np.uint8))
    (issue,) = found(root)["exact_duplicate"]
    assert issue.problem.endswith("at full size they differ")


@pytest.mark.parametrize("mode", ["L", "P", "RGBA"])
def test_the_same_pixels_in_another_mode_or_file_are_the_same_at_full_size(root: Path, mode: str) -> None:
    image = Image.fromarray(np.repeat(striped(99, axis=0)[:, :, :1], 3, axis=2))
    image.save(root / "a/x/1.png")
    image.convert("L").convert(mode).save(root / "a/x/2.png", compress_level=1)
    assert found(root)["exact_duplicate"] == [Issue("a/x/2.png", "has the pixels of a/x/1.png", "a/x/1.png")]


def leaving_out_unreadable_images(**changes: object) -> Dataset:
    checks = DATASET.checks.model_copy(update={"unreadable_image": "warning"})
    return DATASET.model_copy(update={"checks": checks, **changes})


def test_a_class_of_nothing_but_unreadable_images_is_empty_where_these_are_left_out(root: Path) -> None:
    for file in "12":
        (root / f"a/x/{file}.png").write_bytes(b"")
    issues = found(root, leaving_out_unreadable_images())
    assert list(issues) == ["empty_class", "folder_size", "unreadable_image"]
    assert issues["empty_class"] == [Issue("a/x", "has 2 images of which none can be read")]
    assert issues["folder_size"] == [
        Issue("a", "has 2 images that can be read; dataset.images_per_folder says 4"),
    ]


def test_a_folder_is_counted_by_the_images_that_are_used(root: Path) -> None:
    (root / "b/y/1.png").write_bytes(b"")
    left = leaving_out_unreadable_images(images_per_folder=3)
    assert [issue.subject for issue in found(root, left)["folder_size"]] == ["a", "c"]


def test_a_class_without_images_does_not_hide_an_imbalance_of_the_others(tmp_path: Path) -> None:
    dataset = fill(tmp_path / "root", {"a": (9, 4), "b": (4, 4), "c": (4, 4)})
    for folder in "abc":
        save(tmp_path / "root" / folder / "z" / "1.png", picture(ord(folder)))
    (tmp_path / "root/a/z/1.png").write_bytes(b"")
    issues = found(tmp_path / "root", dataset)["class_imbalance"]
    assert issues[0] == Issue("train", "has 2.2 times as many images of x (9) as of y (4)")


def fill(root: Path, counts: dict[str, tuple[int, int]], offset: int = 0, shift: str = "") -> Dataset:
    """Folders with as many images of each class as told, those of the folder ``shift`` brighter."""
    seed = 1000
    for folder, class_counts in counts.items():
        for name, count in zip("xy", class_counts, strict=True):
            for index in range(count):
                seed += 1
                pixels = np.minimum(picture(seed) // 2 + (offset if folder == shift else 0), 255).astype(np.uint8)
                save(root / folder / name / f"{index:03d}.png", pixels)
    return DATASET.model_copy(update={"images_per_folder": None})


def test_a_class_that_is_far_smaller_than_another_is_an_imbalance(tmp_path: Path) -> None:
    dataset = fill(tmp_path / "root", {"a": (9, 4), "b": (4, 4), "c": (4, 4)})
    assert found(tmp_path / "root", dataset) == {
        "class_imbalance": [Issue("train", "has 2.2 times as many images of x (9) as of y (4)")]
    }


def test_brighter_images_in_one_split_are_a_drift_of_its_channels(tmp_path: Path) -> None:
    dataset = fill(tmp_path / "root", {"a": (20, 20), "b": (20, 20), "c": (20, 20)}, offset=20, shift="c")
    issues = found(tmp_path / "root", dataset)
    assert list(issues) == ["channel_drift"]
    assert {issue.subject for issue in issues["channel_drift"]} == {"train and test", "validation and test"}


def test_a_drift_of_channels_is_significant_where_scipys_welch_test_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dataset = fill(tmp_path / "root", {"a": (60, 40), "b": (40, 10), "c": (30, 20)}, offset=6, shift="c")
    inspection = inspect(tmp_path / "root", dataset)
    means = [inspection.images.means[inspection.split_of == split].astype(float) for split in range(3)]
    told: list[float] = []
    monkeypatch.setattr(checks, "_is_drift", lambda effect, probability, dataset: told.append(probability))
    list(checks.channel_drift(inspection, dataset))
    expected = [ttest_ind(means[i], means[j], equal_var=False).pvalue for i, j in ((0, 1), (0, 2), (1, 2))]
    assert np.allclose(told, np.concatenate(expected), rtol=1e-3, atol=0)


def test_other_class_frequencies_in_one_split_are_a_drift_of_its_classes(tmp_path: Path) -> None:
    dataset = fill(tmp_path / "root", {"a": (29, 31), "b": (29, 31), "c": (12, 48)})
    dataset = dataset.model_copy(
        update={"thresholds": dataset.thresholds.model_copy(update={"class_ratio": 9.0, "drift_significance": 0.01})}
    )
    issues = found(tmp_path / "root", dataset)
    assert list(issues) == ["class_drift"]
    assert [issue.subject for issue in issues["class_drift"]] == ["train and test", "validation and test"]
    assert issues["class_drift"][0].problem.startswith("differ in the frequencies of their classes, Cramér's V 0.30")


def test_a_drift_of_classes_is_significant_where_scipys_chi_square_test_says_so(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    counts = np.array([[50, 31, 20], [12, 9, 4], [70, 20, 60]])
    inspection = inspect(root)
    monkeypatch.setattr(Inspection, "class_counts", lambda self: counts)
    told: list[tuple[float, float]] = []
    monkeypatch.setattr(checks, "_is_drift", lambda effect, probability, dataset: told.append((effect, probability)))
    list(checks.class_drift(inspection, DATASET))
    for (effect, probability), (i, j) in zip(told, ((0, 1), (0, 2), (1, 2)), strict=True):
        reference = chi2_contingency(counts[[i, j]], correction=False)
        assert probability == pytest.approx(reference.pvalue)
        assert effect == pytest.approx(np.sqrt(reference.statistic / counts[[i, j]].sum()))


def test_a_difference_that_chance_explains_is_no_drift(root: Path) -> None:
    (root / "c/x/1.png").unlink()
    assert "class_drift" not in found(root)


def test_of_many_issues_all_are_counted_and_a_sample_over_all_folders_is_kept(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checks, "KEPT", 3)
    for path in sorted(root.glob("*/x/*.png")):
        path.write_bytes(b"")
    (outcome,) = [outcome for outcome in checks.run(inspect(root), DATASET) if outcome.found]
    assert (outcome.check, outcome.severity, outcome.found) == ("unreadable_image", "error", 6)
    assert outcome.sample == tuple(Issue(f"{folder}/x/1.png", "is empty") for folder in FOLDERS)


def test_an_image_may_be_a_near_duplicate_of_several(root: Path) -> None:
    for path in ("a/x/2", "c/y/1"):
        save(root / f"{path}.png", picture(0) // 2 + len(path) + int(path[-1]))
    inspection = inspect(root)
    pairs = [(issue.subject, issue.partner) for issue in checks.near_leakage(inspection, DATASET)]
    assert pairs == [("c/y/1.png", "a/x/1.png"), ("c/y/1.png", "a/x/2.png")]
    assert inspection.near_leaked_images == 1
