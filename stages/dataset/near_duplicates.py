"""Pairs of images that show nearly the same pixels: found by a perceptual hash, confirmed by correlation.

Why no library does this here. imagehash computes the same hash, one image at a time (0.1 ms each, longer than a small
image takes to decode), and offers no search. CleanVision (0.3.7) takes two images for near duplicates only if their
hashes are equal in every bit, which with this hash holds for 20 of the 692 pairs of CIFAR-10 that the correlation
confirms at most; it hashes through imagehash, decodes every file anew, reads no zip, and brings pandas and tabulate.
Indices for binary vectors (faiss) are a heavy dependency for what a sort does. The tests compare our hash with
imagehash's, bit by bit. Images that are mirrored, turned or cropped are not found.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

HASH_INPUT = 32  # pixels a side of the grey image that is hashed
HASH_SIDE = 8  # lowest frequencies a side that give a bit each

# The search sorts the hashes ORDERS times, each time with their bits in another order, and compares each with the next
# NEIGHBOURS. Its time grows as n log n, whatever the images. Of the 1,901 pairs of CIFAR-10 within distance 8 it finds
# 99.0 %, all within 6, and all but one of the 692 that the correlation confirms. The recall falls slowly as images
# become more, because a sort then tells neighbours apart by more bits: among 600,000 it is 100 % at distance 4, 99.7 %
# at 6 and 93 % at 8, measured on pairs made by flipping bits.
ORDERS = 32
NEIGHBOURS = 8
# An image in this many pairs of a kind looks for no more: thousands of images that are all alike would make millions
# of pairs. Of those not every pair is found then, but nearly every image is in one.
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


def find_partners(
    hashes: NDArray[np.uint64],
    split_of: NDArray[np.int32],
    max_distance: int,
    min_correlation: float,
    read: Callable[[NDArray[np.int64]], NDArray[np.uint8]],
) -> NDArray[np.int64]:
    """For each image an earlier one with nearly the same pixels, if there is one: one in its split, one in another.

    Args:
        hashes: shape (n,).
        split_of: shape (n,), the split of each image, as a number.
        max_distance: most bits in which the hashes of two such images differ.
        min_correlation: least Pearson correlation of their pixels, over all positions and channels.
        read: from k indices to the images' pixels, shape (k, size, size, 3).

    Returns:
        Shape (m, 2), the later image first, sorted.
    """
    pairs = close_pairs(hashes, split_of, max_distance)
    same_split = split_of[pairs[:, 0]] == split_of[pairs[:, 1]]
    kinds = [_confirmed(pairs[kind], min_correlation, read) for kind in (same_split, ~same_split)]
    partners: NDArray[np.int64] = np.concatenate(kinds)
    ordered: NDArray[np.int64] = partners[np.lexsort(partners.T[::-1])]
    return ordered


def close_pairs(hashes: NDArray[np.uint64], split_of: NDArray[np.int32], max_distance: int) -> NDArray[np.int64]:
    """Pairs of hashes that differ in ``max_distance`` bits at most; nearly all of them, see :data:`ORDERS`.

    Returns:
        Shape (m, 2), the later image first, sorted, each pair once.
    """
    count = len(hashes)
    bits = np.unpackbits(hashes.astype(">u8").view(np.uint8).reshape(count, 8), axis=1)
    keys: NDArray[np.int64] = np.zeros(0, np.int64)  # of the pairs so far: later image * count + earlier image
    pairs_of_image = np.zeros((2, count), np.int64)  # within a split, and across
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
            kind = (split_of[one] != split_of[other]).astype(np.int8)
            wanted = np.minimum(pairs_of_image[kind, one], pairs_of_image[kind, other]) < ENOUGH_PAIRS
            one, other = one[wanted], other[wanted]
            found.append(np.maximum(one, other) * count + np.minimum(one, other))
        keys = np.sort(np.concatenate([keys, *found]))
        keys = keys[np.diff(keys, prepend=-1) > 0]  # as np.unique, whose hash table takes ten times as long here
        later, earlier = keys // max(count, 1), keys % max(count, 1)
        across = split_of[later] != split_of[earlier]
        for kind, chosen in enumerate((~across, across)):
            pairs_of_image[kind] = np.bincount(np.concatenate([later[chosen], earlier[chosen]]), minlength=count)
    return np.stack([later, earlier], axis=1)


def _confirmed(
    pairs: NDArray[np.int64], min_correlation: float, read: Callable[[NDArray[np.int64]], NDArray[np.uint8]]
) -> NDArray[np.int64]:
    """The first pair of each later image whose pixels correlate; ``pairs`` are sorted."""
    confirmed: list[NDArray[np.int64]] = [np.zeros((0, 2), np.int64)]
    while len(pairs):
        _, first = np.unique(pairs[:, 0], return_index=True)
        tried = pairs[first]
        correlate = np.zeros(len(tried), np.bool_)
        for start in range(0, len(tried), PAIRS_AT_ONCE):
            later, earlier = tried[start : start + PAIRS_AT_ONCE].T
            correlate[start : start + len(later)] = _correlations(read(later), read(earlier)) >= min_correlation
        confirmed.append(tried[correlate])
        pairs = np.delete(pairs, first, axis=0)
        pairs = pairs[~np.isin(pairs[:, 0], tried[correlate, 0])]
    return np.concatenate(confirmed)


def _correlations(one: NDArray[np.uint8], other: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Pearson correlation of each pair's pixels, shape (k,); 0 where an image is of one colour, which has none."""
    a, b = (pixels.reshape(len(pixels), -1).astype(np.float32) for pixels in (one, other))
    a -= a.mean(axis=1, keepdims=True)
    b -= b.mean(axis=1, keepdims=True)
    product: NDArray[np.float32] = np.einsum("kp,kp->k", a, b)
    norm = np.sqrt(np.einsum("kp,kp->k", a, a) * np.einsum("kp,kp->k", b, b))
    return np.where(norm > 0, product / np.maximum(norm, np.finfo(np.float32).tiny), 0)
