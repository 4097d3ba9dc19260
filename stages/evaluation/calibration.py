"""Whether the probabilities are calibrated: of the images predicted with 80 %, are 80 % right?

Source: Guo, Pleiss, Sun and Weinberger, *On Calibration of Modern Neural Networks*, 2017, section 2. The confidence of
a prediction is the probability of the predicted class, the image's highest.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from stages.common.files import write_json_rows, written_by

BINS = 15  # of equal width, as in the paper


class Bin(NamedTuple):
    """The images whose confidence lies in one interval; at least one.

    Attributes:
        confidence: their mean confidence, 0 to 1.
        accuracy: the share that is predicted correctly.
        images: how many there are.
    """

    confidence: float
    accuracy: float
    images: int


def reliability(labels: NDArray[np.int32], probabilities: NDArray[np.float32]) -> list[Bin]:
    """The points of the reliability diagram in the order of confidence, without bins that have no image.

    Args:
        labels: shape (n,), n at least 1, indices of the actual classes.
        probabilities: shape (n, classes), rows that sum to 1.
    """
    confidence = probabilities.max(axis=1).astype(np.float64)
    right = probabilities.argmax(axis=1) == labels
    # Interval m of the paper is ((m - 1) / BINS, m / BINS], closed above.
    interval = np.clip(np.ceil(confidence * BINS).astype(int) - 1, 0, BINS - 1)
    return [
        Bin(float(confidence[inside].mean()), float(right[inside].mean()), int(inside.sum()))
        for inside in (interval == number for number in range(BINS))
        if inside.any()
    ]


def expected_calibration_error(bins: Sequence[Bin]) -> float:
    """The mean distance between accuracy and confidence over the bins, weighted by images; 0 to 1, 0 is perfect."""
    distances = [abs(each.accuracy - each.confidence) for each in bins]
    return float(np.average(distances, weights=[each.images for each in bins]))


def write(path: Path, bins: Sequence[Bin]) -> None:
    """Write the points of the diagram, one a line."""
    write_json_rows(path, (each._asdict() for each in bins))


def load(path: Path) -> list[Bin]:
    """Read what :func:`write` wrote: at least one point, its numbers rounded.

    Raises:
        UserError: the file is missing or is not what ``test`` writes.
    """
    with written_by("test", path):
        bins = [Bin(**row) for row in json.loads(path.read_text(encoding="utf-8"))]
        if not bins:
            raise ValueError("it has no point")
        return bins
