"""The sample of near duplicates: which pairs, with whose pictures, and that they come back from their file."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from stages.dataset import near_pairs
from stages.dataset.near_pairs import FoundPair


def split(folder: str, count: int, size: int = 8) -> tuple[tuple[str, ...], NDArray[np.uint8]]:
    random = np.random.default_rng(count)
    names = tuple(f"{folder}/c/{index}.png" for index in range(count))
    return names, random.integers(0, 256, (count, size, size, 3), dtype=np.uint8)


TRAIN, TEST = split("train1", 30), split("test", 20)


def pixels(picture: bytes) -> NDArray[np.uint8]:
    with Image.open(io.BytesIO(picture)) as image:
        return np.asarray(image)


def test_the_pairs_have_the_pictures_of_the_images_that_they_name() -> None:
    found = [
        FoundPair("near_duplicate", ("train1/c/7.png", "train1/c/3.png")),
        FoundPair("near_leakage", ("test/c/9.png", "train1/c/5.png")),
    ]
    within, across = near_pairs.sample(found, [TRAIN, TEST])
    assert within[:2] == found[0]
    assert across[:2] == found[1]
    assert np.array_equal([pixels(picture) for picture in within.pictures], TRAIN[1][[7, 3]])
    assert np.array_equal([pixels(picture) for picture in across.pictures], [TEST[1][9], TRAIN[1][5]])


def test_of_many_pairs_some_are_taken_evenly_over_the_list() -> None:
    found = [FoundPair("near_duplicate", (f"train1/c/{i}.png", "train1/c/0.png")) for i in range(1, 17)]
    chosen = near_pairs.sample(found, [TRAIN])
    assert [pair.names[0] for pair in chosen] == [f"train1/c/{i}.png" for i in range(1, 17, 2)]


def test_a_large_image_is_shown_as_small_as_the_page_shows_it() -> None:
    found = [FoundPair("near_duplicate", ("large/c/1.png", "large/c/0.png"))]
    (pair,) = near_pairs.sample(found, [split("large", 2, size=500)])
    assert pixels(pair.pictures[0]).shape == (128, 128, 3)


def test_what_is_written_is_read_back_and_nothing_too(tmp_path: Path) -> None:
    file = tmp_path / "near_duplicates.json"
    for found in ([FoundPair("near_leakage", ("test/c/9.png", "train1/c/5.png"))], []):
        pairs = near_pairs.sample(found, [TRAIN, TEST])
        near_pairs.write(file, pairs)
        assert near_pairs.load(file) == pairs
