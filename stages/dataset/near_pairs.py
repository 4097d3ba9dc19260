"""A sample of near duplicates with their pictures, for people to look at."""

from __future__ import annotations

import json
from base64 import b64decode, b64encode
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from stages.common.files import write_json_rows, written_by
from stages.common.thumbnails import thumbnail

CHECKS = ("near_duplicate", "near_leakage")  # that find such pairs
MOST = 8


class FoundPair(NamedTuple):
    """The check that found a pair, and the names ``folder/class/file`` of both images."""

    check: str
    names: tuple[str, str]


class NearPair(NamedTuple):
    """Two images that are nearly the same.

    Attributes:
        check: the one that found them: ``near_duplicate`` within a split, ``near_leakage`` across two.
        names: ``folder/class/file`` of each.
        pictures: a small PNG of each.
    """

    check: str
    names: tuple[str, str]
    pictures: tuple[bytes, bytes]


def sample(found: Sequence[FoundPair], splits: Iterable[tuple[Sequence[str], NDArray[np.uint8]]]) -> list[NearPair]:
    """At most :data:`MOST` of the pairs ``found``, spread evenly over them, with their pictures.

    Args:
        splits: of each split the names of its images and the images, shape (n, size, size, 3), RGB.
    """
    count = min(MOST, len(found))
    chosen = [found[index * len(found) // count] for index in range(count)]
    wanted = {name for pair in chosen for name in pair.names}
    pictures = {
        name: thumbnail(images[row]) for names, images in splits for row, name in enumerate(names) if name in wanted
    }
    return [NearPair(check, (one, other), (pictures[one], pictures[other])) for check, (one, other) in chosen]


def write(path: Path, pairs: Sequence[NearPair]) -> None:
    """Write a row a pair, its pictures in Base64."""
    write_json_rows(
        path,
        (pair._asdict() | {"pictures": [b64encode(picture).decode() for picture in pair.pictures]} for pair in pairs),
    )


def load(path: Path) -> list[NearPair]:
    """Read what :func:`write` wrote.

    Raises:
        UserError: the file is missing or is not what ``verify`` writes.
    """
    with written_by("verify", path):
        return [_pair(**row) for row in json.loads(path.read_text(encoding="utf-8"))]


def _pair(check: str, names: Sequence[str], pictures: Sequence[str]) -> NearPair:
    (one, other), (first, second) = names, pictures
    return NearPair(check, (one, other), (b64decode(first, validate=True), b64decode(second, validate=True)))
