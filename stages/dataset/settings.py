"""The parameters ``dataset``: which images to use, and what must be true of them."""

from __future__ import annotations

import os
import unicodedata
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, ValidationInfo, field_validator

from stages.common.file_names import refusal
from stages.common.parameter_file import Fraction, PositiveInt, Section, Share
from stages.dataset.checks import CHECKS
from stages.splits.packed import Resize

OUTPUTS = ("data/verified", "metrics", "models", "plots")  # folders that the pipeline writes


def _folder_name(name: str) -> str:
    if problem := refusal(name) or ("it is hidden" if name.startswith(".") else None):
        raise ValueError(problem)
    return unicodedata.normalize("NFC", name)  # one of Unicode's forms, so that a name can't be given twice


def _root(root: str) -> str:
    # Compares the names alone, as DVC does, which would complain of "both a dependency and an output".
    images = Path(os.path.normpath(Path.cwd() / root))
    for name in OUTPUTS:
        output = Path.cwd() / name
        if output.is_relative_to(images) or images.is_relative_to(output):
            relation = "holds" if output.is_relative_to(images) else "lies in"
            raise ValueError(f"it {relation} {name}, which the pipeline writes; use another folder, such as data/mine")
    return root


FolderNames = Annotated[tuple[Annotated[str, AfterValidator(_folder_name)], ...], Field(min_length=1)]
Severity = Literal["error", "warning", "off"]


class Checks(Section):
    """What a finding of each check on the dataset does: a key for each function in ``stages/dataset/checks.py``."""

    __annotations__ = dict.fromkeys(CHECKS, Severity)  # of which pydantic makes the fields

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


class Dataset(Section):
    """The folders of each split, and what must be true of them."""

    root: Annotated[str, Field(min_length=1), AfterValidator(_root)]
    train: FolderNames
    validation: FolderNames
    test: FolderNames
    image_size: Annotated[int, Field(ge=8, le=1024)]
    resize: Resize
    classes: Annotated[int, Field(ge=2)] | None
    images_per_folder: PositiveInt | None
    checks: Checks
    thresholds: Thresholds

    @field_validator("train", "validation", "test")
    @classmethod
    def _each_folder_once(cls, names: tuple[str, ...], info: ValidationInfo) -> tuple[str, ...]:
        earlier = [name for split in ("train", "validation") for name in info.data.get(split, ())]
        for index, name in enumerate(names):
            if name in earlier or name in names[:index]:
                raise ValueError(f"folder {name!r} is named twice; an image belongs to one split, once")
        return names

    @property
    def splits(self) -> dict[str, tuple[str, ...]]:
        """The folder names of each split, in the order train, validation, test."""
        return {"train": self.train, "validation": self.validation, "test": self.test}
