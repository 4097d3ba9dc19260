"""Finds pairs of images that show the same scene, by their coarse structure, even if it is shifted a little.

An image's spectrum is the lowest frequencies of its grey form, scaled to unit length. Brightness, contrast and fine
detail do not change it, and a shift of the image only turns its phases. So the correlation of two images at every shift
of a few pixels follows from their spectra alone (the cross-correlation theorem). Mirrored, rotated and strongly cropped
copies are not found.

On CIFAR-10 this finds 65 % of the pairs of a test and a training image that people judged to be of one camera shot
(ciFAIR: Barz and Denzler, "Do We Train on Test Data?", 2020). Of 120 pairs drawn from its findings, 115 are of one
shot. A 64-bit DCT hash, confirmed by the correlation of the pixels, finds 35 %. Of Fashion-MNIST, whose articles are
alike, it reports 0.1 % of the images.

All arithmetic that decides is on whole numbers that floats hold exactly, so results are equal on every processor.

No library does this: imagehash, imagededup and CleanVision compare hashes of few bits, one file at a time; indices for
nearest neighbours (faiss, hnswlib) are heavy and, unless exhaustive, not equal on all processors; trees (scipy's
cKDTree) don't beat an exhaustive search in 96 dimensions.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

SIDE = 32  # pixels a side of the grey image
HIGHEST = 5.5  # cycles an image; more would separate similar scenes better, but also slightly scaled copies
MAX_SHIFT = 3  # of 32 pixels; 5 % of ciFAIR's pairs are shifted by 3, and none was seen to need more
UNIT = 127  # length of a spectrum, so that its entries fit 8 bits

# Some random images are the centres of cells, and each image is in the cells of its nearest centres. The search
# compares the images of a cell and keeps the nearest few. Time grows as n^1.5. It finds 95 % of ciFAIR's pairs that
# correlate enough.
CELLS_AN_IMAGE = 5
NEIGHBOURS = 4  # kept in each cell, in the image's split and in others
CELL_SIZE = 2048  # at most; a larger cell, as of thousands of similar images, is split
MIN_UNSHIFTED = 0.6  # correlation without a shift; 1 % of the true pairs are below it, and most others

# Similar images, such as drawings on one background, correlate highly without being copies. So a pair must also be
# nearer than chance explains. The distance to the nearest of m images follows a Weibull distribution (the law of least
# values). Its shape and scale follow from the median and the upper quartile in a sample, where the duplicates, which
# have the least distances, don't count. It tells how near the nearest of n images comes to less than CHANCE of them.
SAMPLE = 20, 1000  # at least, at most; between them a quarter of the images, which holds few copies of each other
CHANCE = 0.01
# This suffices in any dataset. Saving as a JPEG of quality 75 leaves it; hardly two articles of Fashion-MNIST reach it.
CERTAIN = 0.998

PARTNERS = 4  # the nearest that are kept for each image, in its split and in others

ROWS_AT_ONCE = 4096
CELLS_AT_ONCE = 64
PAIRS_AT_ONCE = 16_384


def _frequencies() -> NDArray[np.int64]:
    """Cycles an image, vertically and horizontally, in half of the plane; the other half mirrors it."""
    most = int(HIGHEST)
    plane = [(u, v) for u in range(most + 1) for v in range(-most, most + 1) if u > 0 or v > 0]
    return np.array([each for each in plane if np.hypot(*each) <= HIGHEST])


def _shift_table() -> NDArray[np.float64]:
    """The matrix from a cross spectrum, real and imaginary parts, to the correlation at each shift; shape (96, 49)."""
    steps = np.arange(-MAX_SHIFT, MAX_SHIFT + 1)
    shifts = np.stack(np.meshgrid(steps, steps, indexing="ij")).reshape(2, -1)
    phases = 2 * np.pi / SIDE * (FREQUENCIES @ shifts)
    table: NDArray[np.float64] = np.rint(UNIT * np.concatenate([np.cos(phases), np.sin(phases)]))
    return table


FREQUENCIES = _frequencies()
SHIFT_TABLE = _shift_table()
LENGTH = 2 * len(FREQUENCIES)  # of a spectrum: real parts, then imaginary parts


def spectra(grey: NDArray[np.uint8]) -> NDArray[np.int8]:
    """The low frequencies of each image as a vector of length :data:`UNIT`; zeros for an image of one colour.

    Args:
        grey: shape (n, 32, 32), 0 to 255.

    Returns:
        Shape (n, 96): real parts, then imaginary parts.
    """
    # The borders fade (Tukey's window), so what enters there by a shift counts less.
    from_border = np.minimum(np.arange(1, SIDE + 1), np.arange(SIDE, 0, -1))
    window = np.sin(np.pi / 2 * np.minimum(from_border / (SIDE / 4 + 0.25), 1)) ** 2
    angles = 2 * np.pi / SIDE * np.outer(np.arange(int(HIGHEST) + 1), np.arange(SIDE))
    waves = np.rint(UNIT * window * np.concatenate([np.cos(angles), np.sin(angles)]))
    centred = grey.astype(np.float64) * SIDE**2 - grey.sum(axis=(1, 2), dtype=np.int64)[:, np.newaxis, np.newaxis]
    parts = waves @ centred @ waves.T
    u, v = FREQUENCIES[:, 0], np.abs(FREQUENCIES[:, 1])
    sign, sine = np.sign(FREQUENCIES[:, 1]), int(HIGHEST) + 1
    real = parts[:, u, v] - sign * parts[:, u + sine, v + sine]
    imaginary = -parts[:, u + sine, v] - sign * parts[:, u, v + sine]
    # In natural images amplitudes fall as 1 / frequency; the weights make all frequencies count nearly alike.
    weights = np.rint(16 * np.hypot(u, v) ** 0.75)
    raw = np.rint(np.concatenate([real * weights, imaginary * weights], axis=1) / 2**22)
    norm = np.sqrt((raw**2).sum(axis=1, keepdims=True))
    unit: NDArray[np.int8] = np.rint(UNIT * raw / np.maximum(norm, 1)).astype(np.int8)
    return unit


def find_partners(codes: NDArray[np.int8], split_of: NDArray[np.int32], min_correlation: float) -> NDArray[np.int64]:
    """Pairs of images that show the same scene.

    Args:
        codes: shape (n, 96), of :func:`spectra`.
        split_of: shape (n,), the split of each image, as a number.
        min_correlation: of the coarse structure of a pair, at the best shift. If the images are similar in general,
            :func:`usual_limit` is higher and counts.

    Returns:
        Shape (m, 2), the later image first, sorted: for each image its nearest few earlier ones in its split and in
        others.
    """
    structured = np.flatnonzero(codes.any(axis=1))
    codes, split_of = codes[structured], split_of[structured]
    # In such small products BLAS's threads mostly wait for each other; the cells share the cores instead.
    with threadpool_limits(1, "blas"):
        limit = max(min_correlation, min(CERTAIN, usual_limit(codes)))
        pairs = candidates(codes, split_of)
        scores = correlations(codes, pairs)
    near = scores >= limit
    pairs, scores = pairs[near], scores[near]
    kind = 2 * pairs[:, 0] + (split_of[pairs[:, 0]] != split_of[pairs[:, 1]])
    nearest_first = np.lexsort((pairs[:, 1], -scores, kind))
    pairs, kind = pairs[nearest_first], kind[nearest_first]
    pairs = pairs[np.arange(len(kind)) - np.searchsorted(kind, kind) < PARTNERS]
    ordered: NDArray[np.int64] = structured[pairs[np.lexsort(pairs.T[::-1])]]
    return ordered


def usual_limit(codes: NDArray[np.int8]) -> float:
    """The correlation with its nearest neighbour that an image reaches by chance with a probability of :data:`CHANCE`.

    Args:
        codes: shape (n, 96), none of zeros.
    """
    count = len(codes)
    size = min(max(count // 4, SAMPLE[0]), SAMPLE[1])
    sample = codes[np.random.default_rng(0).permutation(count)[:size]]
    if len(sample) < 3:
        return 0.0
    similarities = _products(sample, sample)
    np.fill_diagonal(similarities, -np.inf)
    nearest = np.stack([np.arange(len(sample)), similarities.argmax(axis=1)], axis=1)
    median, quartile = np.quantile(np.maximum(1 - correlations(sample, nearest), 0), [0.5, 0.75])
    # Of a Weibull distribution P(d > x) = exp(-(x / scale)^shape), so quartile / median = 2^(1 / shape).
    chance = CHANCE * len(sample) / count / np.log(2)
    distance = median * (median / quartile) ** -np.log2(chance) if quartile > 0 else 0.0
    return 1 - round(float(distance), 9)  # rounded, because the last bit of a power depends on the processor


def candidates(codes: NDArray[np.int8], split_of: NDArray[np.int32]) -> NDArray[np.int64]:
    """Pairs of images whose spectra correlate without a shift.

    Returns:
        Shape (m, 2), the later image first, each pair once, sorted.
    """
    import joblib  # not at the top, because the decoding processes import this file

    count = len(codes)
    keys: NDArray[np.int64] = np.zeros(0, np.int64)  # one a pair: later image * count + earlier image
    waiting: list[NDArray[np.int64]] = []

    def keys_of(cell: NDArray[np.int64]) -> NDArray[np.int64]:
        members = cell[np.argsort(split_of[cell], kind="stable")]
        pairs = members[_near_in_cell(codes[members], split_of[members])]
        return np.asarray(pairs.max(axis=1) * count + pairs.min(axis=1))

    cells = list(_cells(codes))
    with ThreadPoolExecutor(joblib.cpu_count()) as pool:
        for start in range(0, len(cells), CELLS_AT_ONCE):
            waiting += pool.map(keys_of, cells[start : start + CELLS_AT_ONCE])
            if sum(map(len, waiting)) > max(2**20, len(keys)):
                keys, waiting = _distinct([keys, *waiting]), []
    keys = _distinct([keys, *waiting])
    return np.stack([keys // max(count, 1), keys % max(count, 1)], axis=1)


def correlations(codes: NDArray[np.int8], pairs: NDArray[np.int64]) -> NDArray[np.float64]:
    """The correlation of each pair's coarse structure, at the best of all shifts; shape (m,), 1 for equal images."""
    scores = np.zeros(len(pairs))
    for start in range(0, len(pairs), PAIRS_AT_ONCE):
        one, other = codes[pairs[start : start + PAIRS_AT_ONCE].T].astype(np.float64).reshape(2, -1, 2, LENGTH // 2)
        real = (one * other).sum(axis=1)
        imaginary = one[:, 0] * other[:, 1] - one[:, 1] * other[:, 0]
        scores[start : start + len(one)] = (np.concatenate([real, imaginary], axis=1) @ SHIFT_TABLE).max(axis=1)
    lengths = np.sqrt(_squares(codes))
    return np.asarray(scores / UNIT / (lengths[pairs[:, 0]] * lengths[pairs[:, 1]]))


def _cells(codes: NDArray[np.int8]) -> Iterator[NDArray[np.int64]]:
    """The rows of each cell, of two images at least."""
    count = len(codes)
    generator = np.random.default_rng(0)
    pivots = codes[generator.permutation(count)[: int(np.ceil(4 * np.sqrt(count)))]]
    nearest = np.zeros((count, min(CELLS_AN_IMAGE, len(pivots))), np.int32)
    closeness = np.zeros(nearest.shape, np.float32)
    for start in range(0, count, ROWS_AT_ONCE):
        rows = slice(start, start + ROWS_AT_ONCE)
        products = _products(codes[rows], pivots)
        for rank, (column, value) in enumerate(_largest(products, nearest.shape[1])):
            nearest[rows, rank], closeness[rows, rank] = column, value
    order = np.lexsort((closeness.ravel(), nearest.ravel()))  # so that a split cell keeps similar images together
    rows_in_order = order // max(nearest.shape[1], 1)
    for cell in np.split(rows_in_order, np.cumsum(np.bincount(nearest.ravel(), minlength=1))[:-1]):
        for part in np.array_split(cell, max(1, -(-len(cell) // CELL_SIZE))):
            if len(part) > 1:
                yield np.sort(part)


def _near_in_cell(codes: NDArray[np.int8], split_of: NDArray[np.int32]) -> NDArray[np.int64]:
    """For each image of a cell its nearest few, in its split and in others; shape (m, 2), positions in the cell.

    Args:
        codes: shape (n, 96).
        split_of: shape (n,), sorted.
    """
    products = _products(codes, codes)
    np.fill_diagonal(products, -np.inf)
    found = [np.zeros((0, 2), np.int64)]
    start = 0
    for end in (np.flatnonzero(np.diff(split_of, append=-1)) + 1).tolist():
        inside, rows = products[start:end, start:end], products[start:end]
        for values, first_column in ((inside, start), (rows, 0)):
            for column, value in _largest(values, min(NEIGHBOURS, values.shape[1])):
                near = np.flatnonzero(value >= MIN_UNSHIFTED * UNIT**2)
                if not len(near):
                    break
                found.append(np.stack([near + start, column[near] + first_column], axis=1))
            inside[:] = -np.inf
        start = end
    return np.concatenate(found)


def _largest(values: NDArray[np.float32], count: int) -> Iterator[tuple[NDArray[np.int64], NDArray[np.float32]]]:
    """Yield column and value of each row's largest, then of its second largest, and so on; overwrites ``values``.

    The first of equal ones comes first, which a partition doesn't promise.
    """
    rows = np.arange(len(values))
    for _ in range(count):
        columns = values.argmax(axis=1)
        yield columns, values[rows, columns]
        values[rows, columns] = -np.inf


def _products(one: NDArray[np.int8], other: NDArray[np.int8]) -> NDArray[np.float32]:
    """Inner products; they are below 2^24, so exact in any order of summation."""
    return one.astype(np.float32) @ other.astype(np.float32).T


def _squares(codes: NDArray[np.int8]) -> NDArray[np.int64]:
    wide = codes.astype(np.int16)
    squares: NDArray[np.int64] = np.einsum("ij,ij->i", wide, wide, dtype=np.int64)
    return squares


def _distinct(keys: list[NDArray[np.int64]]) -> NDArray[np.int64]:
    ordered = np.sort(np.concatenate(keys))
    return ordered[np.diff(ordered, prepend=-1) > 0]  # np.unique's hash table takes ten times as long here
