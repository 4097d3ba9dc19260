"""The perceptual hash against imagehash's, and the search against pairs that are known."""

from __future__ import annotations

import imagehash
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from stages.dataset.near_duplicates import ENOUGH_PAIRS, NEIGHBOURS, close_pairs, find_partners, perceptual_hashes


def with_flipped_bits(value: int, count: int, generator: np.random.Generator) -> int:
    return value ^ sum(1 << int(bit) for bit in generator.choice(64, count, replace=False))


def one_split(hashes: NDArray[np.uint64]) -> NDArray[np.int32]:
    return np.zeros(len(hashes), np.int32)


def test_the_hash_is_that_of_imagehash() -> None:
    generator = np.random.default_rng(0)
    noise = generator.integers(0, 256, (300, 32, 32), dtype=np.uint8)
    smooth = [np.asarray(Image.fromarray(image[:5, :5]).resize((32, 32), Image.Resampling.BICUBIC)) for image in noise]
    for grey in (noise, np.stack(smooth)):
        expected = [int(str(imagehash.phash(Image.fromarray(image))), 16) for image in grey]
        assert perceptual_hashes(grey).tolist() == expected


@pytest.mark.parametrize(("distance", "recall"), [(4, 1.0), (6, 0.999), (8, 0.985)])
def test_nearly_all_close_pairs_are_found(distance: int, recall: float) -> None:
    count = 20_000
    generator = np.random.default_rng(1)
    originals = generator.integers(0, 2**64, count, dtype=np.uint64)
    copies = np.array([with_flipped_bits(int(value), distance, generator) for value in originals[:2000]], np.uint64)
    hashes = np.concatenate([originals, copies])
    found = {(later, earlier) for later, earlier in close_pairs(hashes, one_split(hashes), 8).tolist()}
    assert sum((count + index, index) in found for index in range(len(copies))) >= recall * len(copies)


def test_pairs_are_those_within_the_distance() -> None:
    generator = np.random.default_rng(1)
    hashes = np.array([with_flipped_bits(0, index % 12, generator) for index in range(300)], np.uint64)
    distances = np.bitwise_count(hashes[:, np.newaxis] ^ hashes)
    pairs = close_pairs(hashes, one_split(hashes), 8)
    assert len(pairs) > 300
    assert (distances[pairs[:, 0], pairs[:, 1]] <= 8).all()
    assert (pairs[:, 0] > pairs[:, 1]).all()
    assert np.array_equal(pairs, np.unique(pairs, axis=0))


def test_equal_hashes_are_always_found() -> None:
    hashes = np.random.default_rng(2).integers(0, 2**64, 1000, dtype=np.uint64)
    hashes[900:] = hashes[:100]
    assert close_pairs(hashes, one_split(hashes), 0).tolist() == [[900 + index, index] for index in range(100)]


def test_thousands_of_images_that_are_all_alike_make_few_pairs() -> None:
    count = 20_000
    alternating = np.arange(count, dtype=np.int32) % 2
    generator = np.random.default_rng(5)
    hashes = np.array([with_flipped_bits(0x0F0F0F0F, 3, generator) for _ in range(count)], np.uint64)
    pairs = close_pairs(hashes, alternating, 8)
    assert len(pairs) <= (NEIGHBOURS + 2 * ENOUGH_PAIRS) * count
    same_split = alternating[pairs[:, 0]] == alternating[pairs[:, 1]]
    for kind in (pairs[same_split], pairs[~same_split]):
        assert np.isin(np.arange(count), kind).all()


def test_no_or_one_image_has_no_partner() -> None:
    for count in (0, 1):
        hashes = np.zeros(count, np.uint64)
        partners = find_partners(
            hashes, one_split(hashes), 8, 0.9, lambda rows: np.zeros((len(rows), 4, 4, 3), np.uint8)
        )
        assert partners.shape == (0, 2)


def test_partners_are_confirmed_by_their_pixels() -> None:
    generator = np.random.default_rng(3)
    images = generator.integers(0, 200, (5, 8, 8, 3), dtype=np.uint8)
    images[2] = images[0] + generator.integers(0, 10, (8, 8, 3), dtype=np.uint8)
    images[3] = 7  # of one colour, so that it correlates with nothing
    images[4] = images[0]
    hashes = np.zeros(5, np.uint64)
    split_of = np.array([0, 0, 0, 0, 1], np.int32)
    assert find_partners(hashes, split_of, 8, 0.9, lambda rows: images[rows]).tolist() == [[2, 0], [4, 0]]
    assert find_partners(hashes, split_of, 8, 0.9999, lambda rows: images[rows]).tolist() == [[4, 0]]


def test_a_partner_in_the_split_does_not_hide_one_in_another() -> None:
    images = np.random.default_rng(4).integers(0, 256, (1, 8, 8, 3), dtype=np.uint8).repeat(4, axis=0)
    split_of = np.array([0, 0, 1, 1], np.int32)
    partners = find_partners(np.zeros(4, np.uint64), split_of, 8, 0.9, lambda rows: images[rows])
    assert partners.tolist() == [[1, 0], [2, 0], [3, 0], [3, 2]]
