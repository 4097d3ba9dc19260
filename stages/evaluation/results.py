"""The results on the test split, in ``metrics/test.json`` and ``metrics/test_classes.json``.

Their floats are rounded (see ``rounding.rounded``). Reading them loads neither SciPy nor scikit-learn.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from stages.common.files import write_json, written_by

INTERVALS = "interval_95"  # the key in ``metrics/test.json``


class Interval(NamedTuple):
    """A 95 % interval."""

    low: float
    high: float


@dataclass(frozen=True)
class Results:
    """The figures of one split; all but the loss and the numbers of images are 0 to 1, None if undefined.

    Attributes:
        figures: the headline figures by name; ``accuracy`` is one.
        intervals: the interval of each.
        classes: of each class by its name: ``precision``, ``recall``, ``f1``, ``auc`` and ``support``, its images.
    """

    figures: Mapping[str, float | None]
    intervals: Mapping[str, Interval | None]
    classes: Mapping[str, Mapping[str, float | int | None]]


def write(results: Results, figures: Path, classes: Path) -> None:
    """Write the two files."""
    # Intervals are lists, because DVC's tables of metrics leave lists out: each figure is one row, not three.
    write_json(figures, {**results.figures, INTERVALS: results.intervals})
    write_json(classes, results.classes)


def load(figures: Path, classes: Path) -> Results:
    """Read what :func:`write` wrote.

    Raises:
        UserError: a file is missing or is not what ``test`` writes.
    """
    with written_by("test", figures):
        values = _parse(figures.read_text(encoding="utf-8"))
        intervals = {name: both and Interval(*both) for name, both in values.pop(INTERVALS).items()}
        if intervals.keys() != values.keys():
            raise ValueError("it lacks a figure or its interval")
    with written_by("test", classes):
        by_class = json.loads(classes.read_text(encoding="utf-8"))
        if any(each.keys() != {"precision", "recall", "f1", "auc", "support"} for each in by_class.values()):
            raise ValueError("it lacks a figure of a class")
    return Results(values, intervals, by_class)


def parse_figures(text: str) -> dict[str, float | None]:
    """The headline figures by name in the ``text`` of ``metrics/test.json`` of any revision.

    Raises:
        ValueError: the text is not what ``test`` writes.
    """
    values = _parse(text)
    values.pop(INTERVALS, None)  # not all versions have them for all figures
    return values


def _parse(text: str) -> dict[str, Any]:
    values = json.loads(text)
    if not isinstance(values, dict) or "accuracy" not in values:
        raise ValueError("it has no accuracy")
    return values
