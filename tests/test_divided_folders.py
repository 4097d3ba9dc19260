"""The stage verify on one folder of images, which the parameters divide into training, validation and test images."""

from __future__ import annotations

import json
import shutil
import zipfile
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from PIL import Image

from stages.common.console import UserError
from stages.splits import packed
from stages.verify import verify
from tests.defaults import parameter_values
from tests.drawn import CLASSES, draw, draw_folder

pytestmark = pytest.mark.slow
SPLITS = ("train", "validation", "test")
OF_ITS_PATIENT = "(patient[0-9]+)"


def set_parameters(validation: Any = 0.2, test: Any = 0.2, train: Any = ("photos",), **division: Any) -> None:
    values = parameter_values()
    dataset = values["dataset"]
    dataset.update(root="data/mine", train=list(train), validation=validation, test=test)
    dataset.update(image_size=16, classes=3, images_per_folder=None)
    dataset["division"].update(division)
    Path("params.yaml").write_text(yaml.safe_dump(values))


@pytest.fixture(autouse=True)
def photos(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project with one folder: 3 classes of 10 images."""
    monkeypatch.chdir(tmp_path)
    draw_folder(tmp_path / "data/mine/photos", 10, seed=0)
    return tmp_path / "data/mine/photos"


def verified() -> dict[str, tuple[str, ...]]:
    """The names of each split's images, in their order."""
    verify()
    return {split: packed.load(f"data/verified/{split}").image_names for split in SPLITS}


def refused() -> str:
    with pytest.raises(UserError) as error:
        verify()
    assert not list(Path("data").glob("verified/*"))
    return str(error.value)


def by_patient(photos: Path, sizes: list[int]) -> None:
    """Names the first images of each class after patients of so many images of the class, and removes the others."""
    for folder in photos.iterdir():
        patients = [number for number, size in enumerate(sizes) for _ in range(size)]
        images = sorted(folder.iterdir())
        for image, patient in zip(images, patients, strict=False):
            image.rename(folder / f"patient{patient}_{image.name}")
        for image in images[len(patients) :]:
            image.unlink()


def patients_of(names: tuple[str, ...]) -> set[str]:
    return {name.rpartition("/")[2].partition("_")[0] for name in names}


def test_one_folder_becomes_three_splits_with_their_share_of_each_class(photos: Path) -> None:
    set_parameters()
    names = verified()
    assert sorted(name for split in SPLITS for name in names[split]) == sorted(
        f"photos/{path.relative_to(photos).as_posix()}" for path in photos.rglob("*.png")
    )
    for split, of_class in (("train", 6), ("validation", 2), ("test", 2)):
        packed_split = packed.load(f"data/verified/{split}")
        assert np.bincount(packed_split.labels).tolist() == [of_class] * 3
        assert packed_split.folder_sizes == (3 * of_class,)
        assert packed_split.classes == CLASSES
        assert list(names[split]) == sorted(names[split])
        for name, label, image in zip(names[split], packed_split.labels, packed_split.images, strict=True):
            assert name.split("/")[1] == CLASSES[label]
            assert np.array_equal(image, np.asarray(Image.open(photos.parent / name)))
        assert sorted(path.name for path in Path("data/verified", split).iterdir()) == [
            "images.npy", "index.json", "labels.npy",
        ]  # fmt: skip
    metrics = json.loads(Path("metrics/dataset.json").read_text())
    assert [metrics[f"{split}_images"] for split in SPLITS] == [18, 6, 6]
    assert metrics["warnings"] == {"total": 0}


def test_the_division_depends_on_no_order_of_files_nor_on_a_zip(photos: Path) -> None:
    set_parameters()
    names = verified()
    shutil.move(photos, photos.with_name("before"))
    for path in sorted(photos.with_name("before").rglob("*.png"), reverse=True):
        target = photos / path.relative_to(photos.with_name("before"))
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, target)
    assert verified() == names
    with zipfile.ZipFile(photos.with_name("photos.zip"), "w") as archive:
        for path in sorted(photos.rglob("*.png"), key=lambda path: path.name):
            archive.write(path, path.relative_to(photos))
    shutil.rmtree(photos)
    assert verified() == names


def test_the_division_depends_on_no_order_of_the_folders_in_the_parameters(photos: Path) -> None:
    draw_folder(photos.with_name("more"), 10, seed=1)
    set_parameters(train=("photos", "more"))
    names = verified()
    sizes = [sum(name.startswith(folder) for name in names["train"]) for folder in ("photos/", "more/")]
    assert packed.load("data/verified/train").folder_sizes == tuple(sizes)
    set_parameters(train=("more", "photos"))
    assert {split: sorted(of_split) for split, of_split in verified().items()} == {
        split: sorted(of_split) for split, of_split in names.items()
    }


def test_another_seed_of_the_division_takes_other_images_and_the_same_seed_the_same() -> None:
    set_parameters(seed=1)
    first = verified()
    set_parameters(seed=2)
    assert verified()["test"] != first["test"]
    set_parameters(seed=1)
    assert verified() == first


@pytest.mark.slow
def test_folds_cover_all_images_but_those_of_the_test_once_and_the_test_is_the_same_for_each() -> None:
    set_parameters(validation=0.1)
    test = verified()["test"]
    images = Path("data/verified/test/images.npy").read_bytes()
    held_out: Counter[str] = Counter()
    for fold in range(1, 5):
        set_parameters(validation={"folds": 4, "fold": fold})
        names = verified()
        assert names["test"] == test
        assert Path("data/verified/test/images.npy").read_bytes() == images
        assert len(names["validation"]) == 6
        assert len(set(names["train"]) | set(names["validation"]) | set(test)) == 30
        held_out.update(names["validation"])
    assert set(held_out.values()) == {1}
    assert len(held_out) == 24


def test_validation_is_divided_off_and_the_test_has_a_folder_of_its_own(photos: Path) -> None:
    draw_folder(photos.with_name("new"), 4, seed=1)
    set_parameters(validation=0.2, test=["new"])
    names = verified()
    assert [len(names[split]) for split in SPLITS] == [24, 6, 12]
    assert all(name.startswith("new/") for name in names["test"])
    set_parameters(validation=["new"], test=0.2)
    names = verified()
    assert [len(names[split]) for split in SPLITS] == [24, 12, 6]
    assert all(name.startswith("new/") for name in names["validation"])


@pytest.mark.slow
def test_the_images_of_a_group_stay_together(photos: Path) -> None:
    by_patient(photos, [2, 1, 1, 2, 1, 2, 1])
    set_parameters(group=OF_ITS_PATIENT)
    names = verified()
    patients = [patients_of(names[split]) for split in SPLITS]
    assert sum(map(len, patients)) == len(set().union(*patients)) == 7
    assert [len(names[split]) for split in SPLITS] == [18, 6, 6]
    for fold in (1, 2, 3):
        set_parameters(validation={"folds": 3, "fold": fold}, group=OF_ITS_PATIENT)
        assert patients_of((folded := verified())["test"]) == patients[2]
        assert not patients_of(folded["train"]) & patients_of(folded["validation"])


@pytest.mark.slow
@pytest.mark.parametrize("near", [False, True])
def test_copies_stay_together_and_near_duplicates_if_they_are_meant_to(photos: Path, near: bool) -> None:
    set_parameters()
    test = verified()["test"]
    train = [name for name in packed.load("data/verified/train").image_names if CLASSES[0] in name]
    copied = [name for name in test if CLASSES[0] in name]
    for one, other in zip(copied, train, strict=False):
        pixels = np.array(Image.open(photos.parent / one))
        pixels[0, 0, 0] ^= int(near)
        Image.fromarray(pixels).save(photos.parent / other)
    if near:
        verify()
        assert json.loads(Path("metrics/dataset.json").read_text())["near_leaked_test_images"] == len(copied)
    set_parameters(near_duplicates=near)
    names = verified()
    split_of = {name: split for split in SPLITS for name in names[split]}
    for one, other in zip(copied, train, strict=False):
        assert split_of[one] == split_of[other]
    metrics = json.loads(Path("metrics/dataset.json").read_text())
    assert (metrics["leaked_images"], metrics["near_leaked_images"]) == (0, 0)


def test_images_that_cannot_be_read_are_left_out_of_the_division(photos: Path) -> None:
    set_parameters()
    values = yaml.safe_load(Path("params.yaml").read_text())
    values["dataset"]["checks"]["unreadable_image"] = "warning"
    Path("params.yaml").write_text(yaml.safe_dump(values))
    for number in range(5):
        (photos / CLASSES[0] / f"00{number}.png").write_bytes(b"")
    names = verified()
    for split, of_class in (("train", 3), ("validation", 1), ("test", 1)):
        assert np.bincount(packed.load(f"data/verified/{split}").labels)[0] == of_class
        for name, image in zip(names[split], packed.load(f"data/verified/{split}").images, strict=True):
            assert np.array_equal(image, np.asarray(Image.open(photos.parent / name)))


def test_the_checks_judge_the_divided_splits_and_the_whole_folder(photos: Path) -> None:
    for image in sorted((photos / CLASSES[0]).iterdir())[4:]:
        image.unlink()
    Image.fromarray(draw(0, np.random.default_rng(9), size=20)).save(photos / CLASSES[0] / "000.png")
    set_parameters()
    values = yaml.safe_load(Path("params.yaml").read_text())
    values["dataset"].update(images_per_folder=25, classes=4)
    Path("params.yaml").write_text(yaml.safe_dump(values))
    assert refused().splitlines() == [
        "the dataset fails 2 of 18 checks; every finding is in data/failures.csv",
        "  class_count (1): photos has 3 classes; dataset.classes says 4",
        "  folder_size (1): photos has 24 images; dataset.images_per_folder says 25",
        f"  converted_image (warning, 1): photos/{CLASSES[0]}/000.png resized from 20x20",
        f"  class_imbalance (warning, 1): train has 3.0 times as many images of {CLASSES[1]} (6) as of {CLASSES[0]} "
        "(2)",
    ]


def test_a_folder_that_is_not_there_is_told_by_its_check(photos: Path) -> None:
    shutil.rmtree(photos)
    set_parameters(group=OF_ITS_PATIENT)
    assert "missing_folder (1): photos is missing" in refused()


@pytest.mark.parametrize(
    ("sizes", "parameters", "message"),
    [
        (
            [],
            {"group": "(dog)"},
            f"dataset.division.group: (dog) is not found in 30 of 30 names, such as photos/{CLASSES[0]}/000.png; "
            "correct it in params.yaml, since each image needs a group",
        ),
        (
            [],
            {"group": "([0-7]).png"},
            f"dataset.division.group: ([0-7]).png is not found in 6 of 30 names, such as photos/{CLASSES[0]}/008.png; "
            "correct it in params.yaml, since each image needs a group",
        ),
        (
            [],
            {"group": "/00(9)?"},
            f"dataset.division.group: /00(9)? is not found in 30 of 30 names, such as photos/{CLASSES[0]}/000.png; "
            "correct it in params.yaml, since each image needs a group",
        ),
        (
            [9, 1],
            {"group": OF_ITS_PATIENT, "test": 0.4, "validation": {"folds": 2, "fold": 1}},
            "dataset.test: a split of about 12 images was asked for and would have 3, since the largest group has 27 "
            "of all 30; change dataset.test or dataset.division in params.yaml",
        ),
        (
            [1, 1],
            {"group": OF_ITS_PATIENT},
            f"dataset.validation: a split would have no image of class {CLASSES[0]}, of which 1 image in 1 group "
            "can be divided; bring more, or change dataset.validation in params.yaml",
        ),
        (
            [2, 2, 1],
            {"group": OF_ITS_PATIENT, "validation": {"folds": 3, "fold": 1}},
            f"dataset.validation.folds: a split would have no image of class {CLASSES[0]}, of which 4 images in 2 "
            "groups can be divided; bring more, or change dataset.validation.folds in params.yaml",
        ),
        (
            [],
            {"validation": {"folds": 9, "fold": 1}},
            f"dataset.validation.folds: a split would have no image of class {CLASSES[0]}, of which 8 images in 8 "
            "groups can be divided; bring more, or change dataset.validation.folds in params.yaml",
        ),
    ],
)
def test_what_cannot_be_divided_so_is_told_by_its_key(
    photos: Path, sizes: list[int], parameters: dict[str, Any], message: str
) -> None:
    if sizes:
        by_patient(photos, sizes)
    set_parameters(**parameters)
    assert refused() == message
