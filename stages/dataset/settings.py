"""The parameters ``dataset``: which images to use, and what must be true of them."""

from __future__ import annotations

import os
import re
import unicodedata
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Discriminator, Field, Tag, ValidationInfo, field_validator

from stages.common.file_names import refusal
from stages.common.parameter_file import Fraction, PositiveInt, Section, Share
from stages.splits.packed import Resize

NO_GROUP = "none"  # not null, which DVC writes as nothing when it edits the file
OUTPUTS = ("data/verified", "metrics", "models", "plots")  # folders that the pipeline writes
FETCHED = "data/cifar10"  # the pipeline writes it too; it may be the root, but what else lay in it would be deleted


def _folder_name(name: str) -> str:
    if problem := refusal(name) or ("it is hidden" if name.startswith(".") else None):
        raise ValueError(problem)
    return unicodedata.normalize("NFC", name)  # one of Unicode's forms, so that a name can't be given twice


def _root(root: str) -> str:
    # Compares the names alone, as DVC does, which would complain of "both a dependency and an output".
    images = Path(os.path.normpath(Path.cwd() / root))
    if images == Path.cwd() / FETCHED:
        return root
    for name in (*OUTPUTS, FETCHED):
        output = Path.cwd() / name
        if output.is_relative_to(images) or images.is_relative_to(output):
            relation = "holds" if output.is_relative_to(images) else "lies in"
            raise ValueError(f"it {relation} {name}, which the pipeline writes; use another folder, such as data/mine")
    return root


def _pattern(pattern: str) -> str:
    if pattern == NO_GROUP:
        return pattern
    try:
        groups = re.compile(pattern).groups
    except (re.error, OverflowError, RecursionError) as error:
        raise ValueError(f"it is no regular expression: {error}") from None
    if groups != 1:
        raise ValueError("should be none, or have one pair of parentheses, as in (patient[0-9]+)")
    return pattern


FolderNames = Annotated[tuple[Annotated[str, AfterValidator(_folder_name)], ...], Field(min_length=1)]
Severity = Literal["error", "warning", "off"]


class Checks(Section):
    """What a finding of each check on the dataset does: a key for each function in ``stages/dataset/checks.py``."""

    missing_folder: Severity
    unsafe_file: Severity
    misplaced_file: Severity
    empty_class: Severity
    class_set: Severity
    class_count: Severity
    folder_size: Severity
    unreadable_image: Severity
    converted_image: Severity
    blank_image: Severity
    class_imbalance: Severity
    exact_duplicate: Severity
    leakage: Severity
    label_conflict: Severity
    near_duplicate: Severity
    near_leakage: Severity
    channel_drift: Severity
    class_drift: Severity

    def severity(self, check: str) -> Severity:
        """The severity of the check of this name."""
        severity: Severity = getattr(self, check)
        return severity


class Thresholds(Section):
    """The values beyond which a check finds something."""

    blank_deviation: Annotated[float, Field(ge=0, le=255)]
    class_ratio: Annotated[float, Field(ge=1)]
    correlation: Fraction
    drift_effect: Annotated[float, Field(ge=0)]
    drift_significance: Share


Folds = Annotated[int, Field(ge=2, le=100)]  # a slip of the hand would fill the memory


class Fold(Section):
    """The validation split as one of several equal parts of the images that are not test images."""

    folds: Folds
    fold: PositiveInt

    @field_validator("fold")
    @classmethod
    def _one_of_them(cls, fold: int, info: ValidationInfo) -> int:
        if fold > info.data.get("folds", fold):
            raise ValueError(f"should be at most {info.data['folds']}, the number of folds")
        return fold


class Division(Section):
    """How validation and test images are divided off those of the training folders.

    Attributes:
        seed: decides which images go where. It is not that of the training.
        group: a regular expression with one pair of parentheses. Images stay together if it finds the same text in
            their names. ``none``: each image goes by itself.
        near_duplicates: whether these stay together too. Exact copies always do.
    """

    seed: Annotated[int, Field(ge=0, lt=2**32)]
    group: Annotated[str, AfterValidator(_pattern)]
    near_duplicates: bool


# A form's name holds a space, so that messages can leave it out of a key.
Names = Annotated[FolderNames, Tag("folder names")]
ShareOfTraining = Annotated[Share, Tag("a share")]
OneOfFolds = Annotated[Fold, Tag("one of folds")]


def _form(split: object) -> str | None:
    if isinstance(split, (int, float)):
        return "a share"
    return "folder names" if isinstance(split, tuple) else None


def _form_of_validation(split: object) -> str | None:
    return "one of folds" if isinstance(split, (dict, Fold)) else _form(split)


def _one_of(form: Callable[[object], str | None]) -> Discriminator:
    return Discriminator(form, "no_form", "should be a list of folders, or a share such as 0.15")


class Dataset(Section):
    """Which images each split has, and what must be true of them.

    Attributes:
        train: names of folders.
        validation, test: names of other folders, or a share of all images of the training folders, which are then
            divided. Validation may also be one of several folds of these.
    """

    root: Annotated[str, Field(min_length=1), AfterValidator(_root)]
    train: FolderNames
    validation: Annotated[Names | ShareOfTraining | OneOfFolds, _one_of(_form_of_validation)]
    test: Annotated[Names | ShareOfTraining, _one_of(_form)]
    division: Division
    image_size: Annotated[int, Field(ge=8, le=1024)]
    resize: Resize
    classes: Annotated[int, Field(ge=2)] | None
    images_per_folder: PositiveInt | None
    checks: Checks
    thresholds: Thresholds

    @field_validator("train", "validation", "test")
    @classmethod
    def _each_folder_once(cls, split: Any, info: ValidationInfo) -> Any:
        earlier = [name for other in ("train", "validation") for name in _names(info.data.get(other))]
        for index, name in enumerate(_names(split)):
            if name in earlier or name in split[:index]:
                raise ValueError(f"folder {name!r} is named twice; an image belongs to one split, once")
        return split

    @field_validator("test")
    @classmethod
    def _some_left_to_train(cls, test: Any, info: ValidationInfo) -> Any:
        validation = info.data.get("validation")
        if isinstance(test, float) and isinstance(validation, float) and test + validation >= 1:
            raise ValueError(f"with {validation} for validation it leaves no image to train on")
        return test

    @property
    def splits(self) -> dict[str, tuple[str, ...]]:
        """The folder names of each split, in the order train, validation, test; none if it is divided off train."""
        return {"train": self.train, "validation": _names(self.validation), "test": _names(self.test)}

    @property
    def is_divided(self) -> bool:
        """Whether validation or test is divided off the training folders."""
        return not all(self.splits.values())


def _names(split: Any) -> tuple[str, ...]:
    return split if isinstance(split, tuple) else ()
