"""Pairs of images that show nearly the same pixels: found by a perceptual hash, confirmed by correlation.

Why no library does this here. imagehash computes the same hash, one image at a time (0.1 ms each, as long as it takes
to decode a small image), and offers no search. CleanVision (0.3.7) takes two images for near duplicates only if their
hashes are equal in every bit, which on CIFAR-10 finds 20 of the 700 pairs that are found here; it hashes through
imagehash, decodes every file anew, reads no zip, and brings pandas and tabulate. Indices for binary vectors (faiss)
are a heavy dependency for what a sort does. The tests compare our hash with imagehash's, bit by bit.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

HASH_INPUT = 32  # pixels a side of the grey image that is hashed
HASH_SIDE = 8  # lowest frequencies a side that give a bit each

# The search sorts the hashes ORDERS times, each time with their bits in another order, and compares each with the next
# NEIGHBOURS. Of the pairs of CIFAR-10 within distance 8 it finds 99 % (all within 6, and 99.9 % of those that the
# correlation confirms), in 0.5 s. Its time grows as n log n, whatever the images; its recall falls slowly as they
# become more, because a sort then tells neighbours apart by more bits: at ten times the images about 95 % at distance
# 8, and still nearly all within 4.
ORDERS = 32
NEIGHBOURS = 8
# An image in this many pairs looks for no more: thousands of images that are all alike would make millions of pairs.
ENOUGH_PAIRS = 8

PAIRS_AT_ONCE = 1000  # whose pixels are in memory together


def perceptual_hashes(grey: NDArray[np.uint8]) -> NDArray[np.uint64]:
    """The 64-bit DCT hash ("pHash") of each image, as ``imagehash.phash`` defines it.

    A bit says whether one of the 8 × 8 lowest frequencies of the type-II DCT lies above their median.

    Args:
        grey: shape (n, 32, 32), 0 to 255.

    Returns:
        Shape (n,); the first bit of each hash is the most significant.
    """
    # Only 8 of 32 frequencies are needed, so a product with 8 rows of the DCT's matrix takes a tenth of the time that
    # scipy.fft takes for all of them, and the processes that decode need not import scipy.
    frequency, position = np.arange(HASH_SIDE), np.arange(HASH_INPUT)
    basis = np.cos(np.pi / (2 * HASH_INPUT) * np.outer(frequency, 2 * position + 1)).astype(np.float32)
    low = (basis @ grey.astype(np.float32) @ basis.T).reshape(len(grey), -1)
    bits = low > np.median(low, axis=1, keepdims=True)
    return np.packbits(bits, axis=1).view(">u8").ravel().astype(np.uint64)


def find_pairs(
    hashes: NDArray[np.uint64],
    max_distance: int,
    min_correlation: float,
    read: Callable[[NDArray[np.int64]], NDArray[np.uint8]],
) -> NDArray[np.int64]:
    """Pairs of images whose hashes differ in few bits and whose pixels correlate.

    Args:
        hashes: shape (n,).
        max_distance: most bits in which the hashes of a pair differ.
        min_correlation: least Pearson correlation of a pair's pixels, over all positions and channels.
        read: from k indices to the images' pixels, shape (k, size, size, 3).

    Returns:
        Shape (m, 2), the smaller index first, sorted, each pair once.
    """
    pairs = close_pairs(hashes, max_distance)
    confirmed = [np.zeros(0, np.bool_)]
    for start in range(0, len(pairs), PAIRS_AT_ONCE):
        one, other = pairs[start : start + PAIRS_AT_ONCE].T
        confirmed.append(_correlations(read(one), read(other)) >= min_correlation)
    kept: NDArray[np.bool_] = np.concatenate(confirmed)
    return pairs[kept]


def close_pairs(hashes: NDArray[np.uint64], max_distance: int) -> NDArray[np.int64]:
    """Pairs of hashes that differ in ``max_distance`` bits at most; nearly all of them, see :data:`ORDERS`.

    Returns:
        Shape (m, 2), the smaller index first, sorted, each pair once.
    """
    count = len(hashes)
    bits = np.unpackbits(hashes.astype(">u8").view(np.uint8).reshape(count, 8), axis=1)
    keys = np.zeros(0, np.int64)  # of the pairs so far: first * count + second
    pairs_of_image = np.zeros(count, np.int64)
    generator = np.random.default_rng(0)
    for _ in range(ORDERS):
        shuffled = np.ascontiguousarray(np.packbits(bits[:, generator.permutation(64)], axis=1))
        order = np.argsort(shuffled.view(">u8").ravel().astype(np.uint64), kind="stable")
        sorted_hashes = hashes[order]
        found = []
        for step in range(1, min(NEIGHBOURS, count - 1) + 1):
            distances = np.bitwise_count(sorted_hashes[step:] ^ sorted_hashes[:-step])
            hits = np.flatnonzero(distances <= max_distance)
            one, other = order[hits], order[hits + step]
            wanted = np.minimum(pairs_of_image[one], pairs_of_image[other]) < ENOUGH_PAIRS
            one, other = one[wanted], other[wanted]
            found.append(np.minimum(one, other) * count + np.maximum(one, other))
        keys = np.unique(np.concatenate([keys, *found]))
        pairs_of_image = np.bincount(np.concatenate([keys // count, keys % count]), minlength=count)
    return np.stack([keys // count, keys % count], axis=1)


def _correlations(one: NDArray[np.uint8], other: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Pearson correlation of each pair's pixels, shape (k,); 0 where an image is of one colour, which has none."""
    a, b = (pixels.reshape(len(pixels), -1).astype(np.float32) for pixels in (one, other))
    a -= a.mean(axis=1, keepdims=True)
    b -= b.mean(axis=1, keepdims=True)
    product: NDArray[np.float32] = np.einsum("kp,kp->k", a, b)
    norm = np.sqrt(np.einsum("kp,kp->k", a, a) * np.einsum("kp,kp->k", b, b))
    return np.where(norm > 0, product / np.maximum(norm, np.finfo(np.float32).tiny), 0)
