"""The bootstrap of what a confusion matrix counts: many samples of images, drawn anew, and the figures of each.

These figures depend on the images only by how many there are of each kind, such as "a cat that is taken for a dog".
Drawing n images with replacement is drawing these counts from a multinomial distribution with n draws and the observed
shares, so a sample costs as much as there are kinds, however many images there are.

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
SEED = 20_090_408  # a fixed one, so that equal predictions have equal intervals
CELLS = 2_000_000  # numbers in the largest array at a time, 16 MB


@dataclass(frozen=True)
class Samples:
    """Many samples of classified images; ratios are from 0 to 1, and 0 where the denominator is 0.

    Attributes:
        hits: int64, shape (samples, classes), the images of a class that are predicted as it.
        actual: the same for all images of the class.
        predicted: the same for all images that are predicted as it.
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
        """The mean, shape (samples,), of a ratio over the classes of which a sample has images; of others it is 0."""
        return _ratio(by_class.sum(axis=1), np.count_nonzero(self.actual, axis=1))

    def weighted(self, by_class: NDArray[np.float64]) -> NDArray[np.float64]:
        """The mean, shape (samples,), of a ratio over the classes, weighted by the images of each in the sample."""
        return _ratio((by_class * self.actual).sum(axis=1), self.actual.sum(axis=1))


def resamples(counts: NDArray[np.int64], classes: int) -> Iterator[NDArray[np.int64]]:
    """10,000 resamples, seed 20090408, of images that fall into kinds.

    They come in chunks, of which only one need be in memory: none, nor what :func:`samples` makes of it, is an array of
    more than 2,000,000 numbers, unless a single resample is. All chunks together are the same whatever their size.

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
    """What counts in samples that are given by their kinds.

    Args:
        counts: shape (samples, kinds), how many images of each kind a sample has; at least one image in each sample.
        actual: shape (kinds,), the index of the class of the images of a kind.
        predicted: the same for the class that they are predicted as.
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
    entries: Any = (np.ones_like(kinds), (kinds, index))  # SciPy's releases type these two otherwise from one another
    shape: Any = (len(index), classes)
    membership = sparse.csr_array(entries, shape=shape)
    return np.asarray(counts @ membership)


def _ratio(part: NDArray[np.float64 | np.int64], whole: NDArray[np.int64]) -> NDArray[np.float64]:
    ratio: NDArray[np.float64] = np.divide(part, whole, out=np.zeros(whole.shape), where=whole > 0)
    return ratio
