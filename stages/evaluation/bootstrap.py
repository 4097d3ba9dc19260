"""The bootstrap of figures that a confusion matrix gives: it draws many samples of the images and computes each one's.

These figures depend only on how many images there are of each kind, such as "a cat that is taken for a dog". Drawing n
images with replacement means drawing these counts from a multinomial distribution with n draws and the observed shares.
So a sample's cost depends on the number of kinds, not of images.

Source: B. Efron and R. J. Tibshirani, An Introduction to the Bootstrap (1993), chapters 6 and 13.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

RESAMPLES = 10_000
SEED = 20_090_408  # fixed, so that equal predictions have equal intervals
CELLS = 2_000_000  # numbers in the largest array, 16 MB


@dataclass(frozen=True)
class Samples:
    """Counts of many samples of classified images; ratios are 0 to 1, and 0 if the denominator is 0.

    Attributes:
        hits: int64, shape (samples, classes), the images of a class that are predicted as it.
        actual: the same shape, the images of the class.
        predicted: the same shape, the images that are predicted as it.
    """

    hits: NDArray[np.int64]
    actual: NDArray[np.int64]
    predicted: NDArray[np.int64]

    @property
    def accuracy(self) -> NDArray[np.float64]:
        """Of each sample, shape (samples,)."""
        return _ratio(self.hits.sum(axis=1), self.actual.sum(axis=1))

    @property
    def precision(self) -> NDArray[np.float64]:
        """Of each class in each sample, shape (samples, classes); so are recall and F1."""
        return _ratio(self.hits, self.predicted)

    @property
    def recall(self) -> NDArray[np.float64]:
        return _ratio(self.hits, self.actual)

    @property
    def f1(self) -> NDArray[np.float64]:
        return _ratio(2 * self.hits, self.actual + self.predicted)

    def macro(self, by_class: NDArray[np.float64]) -> NDArray[np.float64]:
        """The mean of a ratio, shape (samples,), over the classes of which a sample has images; it is 0 for others."""
        return _ratio(by_class.sum(axis=1), np.count_nonzero(self.actual, axis=1))

    def weighted(self, by_class: NDArray[np.float64]) -> NDArray[np.float64]:
        """The mean of a ratio over the classes, shape (samples,), weighted by each class's images in the sample."""
        return _ratio((by_class * self.actual).sum(axis=1), self.actual.sum(axis=1))


def resamples(counts: NDArray[np.int64], classes: int) -> Iterator[NDArray[np.int64]]:
    """10,000 resamples, seed 20090408, of images that fall into kinds.

    They come in chunks, so that neither a chunk nor what :func:`samples` makes of it has an array of more than
    2,000,000 numbers, unless a single resample has. The chunks' size does not change the resamples.

    Args:
        counts: shape (kinds,), how many images are of each kind; sums to at least 1.
        classes: how many classes there are.

    Yields:
        Shape (resamples of the chunk, kinds); each row sums to the same as ``counts``.
    """
    generator = np.random.default_rng(SEED)
    size = max(1, CELLS // max(len(counts), classes))
    for start in range(0, RESAMPLES, size):
        yield generator.multinomial(counts.sum(), counts / counts.sum(), min(size, RESAMPLES - start))


def samples(
    counts: NDArray[np.int64], actual: NDArray[np.int64], predicted: NDArray[np.int64], classes: int
) -> Samples:
    """Count hits and images by class in samples whose images are counted by kind.

    Args:
        counts: shape (samples, kinds), how many images of each kind a sample has; at least one image in each sample.
        actual: shape (kinds,), the index of the actual class of a kind.
        predicted: shape (kinds,), the index of its predicted class.
        classes: how many classes there are.
    """
    right = actual == predicted
    return Samples(
        hits=_sums(counts[:, right], actual[right], classes),
        actual=_sums(counts, actual, classes),
        predicted=_sums(counts, predicted, classes),
    )


def _sums(counts: NDArray[np.int64], index: NDArray[np.int64], classes: int) -> NDArray[np.int64]:
    """Shape (samples, classes): the sums of the columns of ``counts``, shape (samples, kinds), with the same index."""
    kinds = np.arange(len(index))
    entries: Any = (np.ones_like(kinds), (kinds, index))  # Any, because SciPy's releases type these two differently
    shape: Any = (len(index), classes)
    membership = sparse.csr_array(entries, shape=shape)
    return np.asarray(counts @ membership)


def _ratio(part: NDArray[np.float64 | np.int64], whole: NDArray[np.int64]) -> NDArray[np.float64]:
    ratio: NDArray[np.float64] = np.divide(part, whole, out=np.zeros(whole.shape), where=whole > 0)
    return ratio
