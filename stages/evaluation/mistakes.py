"""The wrongly classified images of which the model is most confident."""

from __future__ import annotations

import json
from base64 import b64decode, b64encode
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from stages.common.files import write_json_rows, written_by
from stages.common.thumbnails import thumbnail

MOST = 16


@dataclass(frozen=True)
class Mistake:
    """A wrongly classified image.

    Attributes:
        name: ``folder/class/file``.
        actual: its class.
        predicted: the class that the model predicts.
        probability: of the predicted class, 0 to 1.
        picture: a small PNG.
    """

    name: str
    actual: str
    predicted: str
    probability: float
    picture: bytes


def most_confident(
    images: NDArray[np.uint8],
    labels: NDArray[np.int32],
    probabilities: NDArray[np.float32],
    classes: Sequence[str],
    names: Sequence[str],
) -> list[Mistake]:
    """At most :data:`MOST` of the wrongly classified images, those with the highest probability first.

    Args:
        images: shape (n, size, size, 3), RGB; may be a memory map.
        labels: shape (n,), indices into ``classes``.
        probabilities: shape (n, classes).
        names: of the images.
    """
    predicted, confidence = probabilities.argmax(axis=1), probabilities.max(axis=1)
    wrong = np.flatnonzero(predicted != labels)
    worst = wrong[np.argsort(-confidence[wrong], kind="stable")][:MOST]
    return [
        Mistake(
            name=names[row],
            actual=classes[labels[row]],
            predicted=classes[predicted[row]],
            probability=float(confidence[row]),
            picture=thumbnail(images[row]),
        )
        for row in worst
    ]


def write(path: Path, mistakes: Sequence[Mistake]) -> None:
    """Write one row a mistake, its picture in Base64."""
    write_json_rows(path, (asdict(each) | {"picture": b64encode(each.picture).decode()} for each in mistakes))


def load(path: Path) -> list[Mistake]:
    """Read what :func:`write` wrote.

    Raises:
        UserError: the file is missing or is not what ``test`` writes.
    """
    with written_by("test", path):
        rows = json.loads(path.read_text(encoding="utf-8"))
        return [Mistake(**row | {"picture": b64decode(row["picture"], validate=True)}) for row in rows]
