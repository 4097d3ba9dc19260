"""What ``verify`` found, read back: its metrics, and the images of near duplicates that its warnings name."""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from stages.common.console import UserError
from stages.splits.packed import Split

PAIRED = ("near_duplicate", "near_leakage")  # the checks whose warnings name two images that are worth seeing


class Pair(NamedTuple):
    """Two images that are nearly the same.

    Attributes:
        check: the check that found them: ``near_duplicate`` within a split, ``near_leakage`` across two.
        names: ``folder/class/file`` of each.
        images: uint8, shape (size, size, 3), RGB, of each.
    """

    check: str
    names: tuple[str, str]
    images: tuple[NDArray[np.uint8], NDArray[np.uint8]]


def load_metrics(path: Path) -> dict[str, Any]:
    """The metrics of the dataset.

    Raises:
        UserError: the file is missing or is not what ``verify`` writes.
    """
    try:
        values: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        return values
    except (FileNotFoundError, ValueError) as error:
        raise UserError(f"{path} holds no metrics of a dataset ({error}); run `dvc repro verify`") from error


def sample_pairs(warnings: Path, splits: Sequence[Split], most: int) -> list[Pair]:
    """Up to ``most`` of the pairs listed in ``warnings``, spread evenly over the list.

    Raises:
        UserError: the list is missing, or names an image that is in none of the splits.
    """
    try:
        with open(warnings, newline="", encoding="utf-8") as file:
            listed = [row for row in csv.DictReader(file) if row["check"] in PAIRED]
        count = min(most, len(listed))
        chosen = [listed[index * len(listed) // count] for index in range(count)]
        place = {name: (split, row) for split in splits for row, name in enumerate(split.names)}
        return [_pair(row["check"], (row["subject"], row["partner"]), place) for row in chosen]
    except (FileNotFoundError, KeyError) as error:
        raise UserError(
            f"{warnings} does not list warnings on these splits ({error}); run `dvc repro verify`"
        ) from error


def _pair(check: str, names: tuple[str, str], place: Mapping[str, tuple[Split, int]]) -> Pair:
    (one, one_row), (other, other_row) = place[names[0]], place[names[1]]
    return Pair(check, names, (one.images[one_row], other.images[other_row]))
