"""Whether two models differ on the same test images, or chance in the choice of the images explains it.

Both models saw the same images, so all is paired: an image on which both err, or neither, says nothing of their
difference. As in ``intervals``, it holds for two trained models and images like these, not for two recipes: another
seed would train another model.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import binomtest

from stages.evaluation import intervals
from stages.evaluation.intervals import Interval


@dataclass(frozen=True)
class Change:
    """One figure of both models, 0 to 1.

    Attributes:
        interval: of the difference, second minus first.
    """

    name: str
    first: float
    second: float
    interval: Interval

    @property
    def difference(self) -> float:
        return self.second - self.first

    @property
    def clear(self) -> bool:
        """Whether the interval is on one side of 0."""
        return self.interval.low > 0 or self.interval.high < 0


@dataclass(frozen=True)
class Differences:
    """What changed from the first model to the second.

    Attributes:
        f1: of each class, in the order of the classes.
        changed: int64, the rows of the images that the two models predict differently, ascending.
        only_first_right: images that the first alone predicts right.
        only_second_right: images that the second alone predicts right.
        p_value: of McNemar's exact test; see :func:`mcnemar`.
    """

    accuracy: Change
    f1_macro: Change
    f1: tuple[Change, ...]
    changed: NDArray[np.int64]
    only_first_right: int
    only_second_right: int
    p_value: float


def between(
    actual: NDArray[np.int64], first: NDArray[np.int64], second: NDArray[np.int64], classes: Sequence[str]
) -> Differences:
    """Compare two models' predictions of the same images.

    The intervals are percentile intervals of the paired bootstrap: 10,000 resamples of the images, seed 20090408, each
    image with both its predictions. All figures depend on the images only by how many there are of each distinct triple
    (actual, first, second), so the resamples are drawn as multinomial counts of these.

    Args:
        actual: shape (n,), n at least 1, indices into ``classes``.
        first: the same, as predicted by the first model.
        second: the same, as predicted by the second.
        classes: the names of the classes.

    Source: B. Efron and R. J. Tibshirani, An Introduction to the Bootstrap (1993), chapters 8 and 13.
    """
    kinds, counts = np.unique(np.stack([actual, first, second], axis=1), axis=0, return_counts=True)
    # The first sample is the images themselves, the others are the resamples.
    samples = np.concatenate([counts[np.newaxis], intervals.resample(counts)])
    of_actual, of_first, of_second = kinds.T
    f1_of_first, f1_of_second = (
        intervals.f1_by_class(samples, of_actual, predicted, len(classes)) for predicted in (of_first, of_second)
    )
    right = [samples @ (of_actual == predicted) / len(actual) for predicted in (of_first, of_second)]
    only_first_right = int(np.sum((first == actual) & (second != actual)))
    only_second_right = int(np.sum((first != actual) & (second == actual)))
    return Differences(
        accuracy=_change("accuracy", *right),
        f1_macro=_change("macro F1", np.nanmean(f1_of_first, axis=1), np.nanmean(f1_of_second, axis=1)),
        f1=tuple(
            _change(name, np.nan_to_num(f1_of_first[:, index]), np.nan_to_num(f1_of_second[:, index]))
            for index, name in enumerate(classes)
        ),
        changed=np.flatnonzero(first != second),
        only_first_right=only_first_right,
        only_second_right=only_second_right,
        p_value=mcnemar(only_first_right, only_second_right),
    )


def mcnemar(only_first_right: int, only_second_right: int) -> float:
    """The two-sided p value of McNemar's exact test that both models are right equally often.

    If they are, each image that one alone predicts right is as likely the first's as the second's: a binomial
    distribution with probability 1/2. Without such an image the p value is 1.

    Source: Q. McNemar, Note on the sampling error of the difference between correlated proportions or percentages,
    Psychometrika 12 (1947); T. G. Dietterich, Approximate statistical tests for comparing supervised classification
    learning algorithms, Neural Computation 10 (1998), for its use on classifiers.
    """
    discordant = only_first_right + only_second_right
    return float(binomtest(only_first_right, discordant, 0.5).pvalue) if discordant else 1.0


def _change(name: str, first: NDArray[np.float64], second: NDArray[np.float64]) -> Change:
    interval = intervals.percentiles(second[1:] - first[1:])
    return Change(name, float(first[0]), float(second[0]), interval)
