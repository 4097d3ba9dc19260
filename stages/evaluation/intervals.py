"""95 % intervals for the headline figures: how far chance in the choice of the test images alone could move them.

They hold for images drawn like those of the split. They say nothing of another training, whose seed moves the figures
as well.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import binomtest

from stages.evaluation.scores import Scores

RESAMPLES = 10_000
SEED = 20_090_408  # of the bootstrap; a fixed one, so that equal predictions have equal intervals


@dataclass(frozen=True)
class Interval:
    """A 95 % interval."""

    low: float
    high: float


def headline(scores: Scores) -> dict[str, Interval]:
    """The intervals of accuracy and macro F1, by the names that ``scores.headline`` gives to these figures."""
    correct, count = int(np.trace(scores.confusion)), int(scores.confusion.sum())
    return {"accuracy": of_share(correct, count), "f1_macro": of_f1_macro(scores.confusion)}


def of_share(hits: int, count: int) -> Interval:
    """Wilson's score interval of the share ``hits / count``; ``count`` at least 1.

    Source: E. B. Wilson, Probable inference, the law of succession, and statistical inference, JASA 22 (1927).
    """
    interval = binomtest(hits, count).proportion_ci(confidence_level=0.95, method="wilson")
    return Interval(float(interval.low), float(interval.high))


def of_f1_macro(confusion: NDArray[np.int64]) -> Interval:
    """The percentile bootstrap interval of macro F1: 10,000 resamples of the images, seed 20090408.

    Macro F1 depends on the images only by how many lie in each cell of the confusion matrix. Drawing n images with
    replacement is drawing these counts from a multinomial distribution with n draws and the observed shares, so a
    resample costs as much as the matrix has cells with images, however many images there are.

    Args:
        confusion: shape (classes, classes), at least one image.

    Source: B. Efron and R. J. Tibshirani, An Introduction to the Bootstrap (1993), chapter 13.
    """
    actual, predicted = np.nonzero(confusion)
    resampled = resample(confusion[actual, predicted])
    return percentiles(f1_macro(resampled, actual, predicted, len(confusion)))


def resample(counts: NDArray[np.int64]) -> NDArray[np.int64]:
    """10,000 resamples of images that fall into kinds.

    Args:
        counts: shape (kinds,), how many images are of each kind; sums to at least 1.

    Returns:
        Shape (10000, kinds); each row sums to the same as ``counts``.
    """
    return np.random.default_rng(SEED).multinomial(counts.sum(), counts / counts.sum(), RESAMPLES)


def percentiles(values: NDArray[np.float64]) -> Interval:
    """From the 2.5th to the 97.5th percentile of a figure's values over the resamples, shape (resamples,)."""
    low, high = np.percentile(values, [2.5, 97.5])
    return Interval(float(low), float(high))


def f1_by_class(
    counts: NDArray[np.int64], actual: NDArray[np.int64], predicted: NDArray[np.int64], classes: int
) -> NDArray[np.float64]:
    """F1 of each class in each of many samples, 2 hits / (actual + predicted).

    Args:
        counts: shape (samples, kinds), how many images of each kind a sample has.
        actual: shape (kinds,), the index of the class of the images of a kind.
        predicted: the same for the class that they are predicted as.
        classes: how many classes there are.

    Returns:
        Shape (samples, classes), 0 to 1; NaN where a class is neither among the sample's labels nor its predictions.
    """
    is_actual, is_predicted = (np.eye(classes)[index] for index in (actual, predicted))
    hits = counts @ (is_actual * is_predicted)
    size = counts @ (is_actual + is_predicted)
    f1: NDArray[np.float64] = np.divide(2 * hits, size, out=np.full(size.shape, np.nan), where=size > 0)
    return f1


def f1_macro(
    counts: NDArray[np.int64], actual: NDArray[np.int64], predicted: NDArray[np.int64], classes: int
) -> NDArray[np.float64]:
    """Macro F1 of each sample, shape (samples,), as ``scores`` defines it: the mean over the classes that occur in it.

    The arguments are those of :func:`f1_by_class`; at least one image in each sample.
    """
    mean: NDArray[np.float64] = np.nanmean(f1_by_class(counts, actual, predicted, classes), axis=1)
    return mean
