"""The class that each image of a split is predicted as, by name: ``predictions.csv`` of ``validate`` and of ``test``.

DVC draws the confusion matrices from its rows, and ``compare`` compares those of two runs.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from stages.common.files import write_csv


class Prediction(NamedTuple):
    """The name of an image, of its class and of the class that the model gives it; a column each."""

    image: str
    actual: str
    predicted: str


def named(
    images: Sequence[str], labels: NDArray[np.integer], predicted: NDArray[np.integer], classes: Sequence[str]
) -> list[Prediction]:
    """The predictions with names in place of numbers.

    Args:
        labels: of each image its class, shape (n,), indices into ``classes``.
        predicted: likewise the class that the model gives it.
    """
    return [Prediction(image, classes[i], classes[j]) for image, i, j in zip(images, labels, predicted, strict=True)]


def write(path: Path, predictions: Iterable[Prediction]) -> None:
    """Write a row a prediction."""
    write_csv(path, Prediction._fields, predictions)


def parse(text: str) -> list[Prediction]:
    """The predictions in the ``text`` of a file that :func:`write` wrote, in any revision.

    Raises:
        ValueError: the text has other columns, or no row.
    """
    rows = list(csv.DictReader(io.StringIO(text, newline="")))
    columns = Prediction._fields
    if not rows or any(row.get(column) is None for row in rows for column in columns):
        raise ValueError(f"it has no rows with the columns {', '.join(columns)}")
    return [Prediction(*(row[column] for column in columns)) for row in rows]
