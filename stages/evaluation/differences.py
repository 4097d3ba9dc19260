"""Whether two models differ on the same test images, or chance in the choice of the images explains it.

All comparisons are paired: an image on which both models err, or neither, says nothing about their difference. As in
``intervals``, the results are about two trained models and images like these, not about two recipes: another seed would
train another model.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import binomtest

from stages.evaluation import bootstrap, intervals
from stages.evaluation.results import Interval


@dataclass(frozen=True)
class Change:
    """One figure of both models, 0 to 1, and the interval of the difference, second minus first."""

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
        f1: for each class, in their order.
        changed: int64, the rows of the images that the two models predict differently, ascending.
        only_first_right: the number of images that only the first predicts correctly.
        only_second_right: the number of images that only the second predicts correctly.
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
    image with both predictions. The kinds of images are the distinct triples (actual, first, second). Only the
    differences of each resample are kept, which takes 160 kB a class at most.

    Args:
        actual: shape (n,), n at least 1, indices into ``classes``.
        first: shape (n,), the first model's predictions.
        second: shape (n,), the second model's predictions.
        classes: the names of the classes.

    Source: B. Efron and R. J. Tibshirani, An Introduction to the Bootstrap (1993), chapters 8 and 13.
    """
    kinds, counts = np.unique(np.stack([actual, first, second], axis=1), axis=0, return_counts=True)
    before, after = _figures(counts[np.newaxis], kinds, len(classes))
    resampled = (_figures(chunk, kinds, len(classes)) for chunk in bootstrap.resamples(counts, len(classes)))
    differences = np.concatenate([second_figures - first_figures for first_figures, second_figures in resampled])
    accuracy, f1_macro, *f1 = (
        Change(name, float(before[0, column]), float(after[0, column]), intervals.percentiles(differences[:, column]))
        for column, name in enumerate(("accuracy", "macro F1", *classes))
    )
    only_first_right = int(np.sum((first == actual) & (second != actual)))
    only_second_right = int(np.sum((first != actual) & (second == actual)))
    return Differences(
        accuracy=accuracy,
        f1_macro=f1_macro,
        f1=tuple(f1),
        changed=np.flatnonzero(first != second),
        only_first_right=only_first_right,
        only_second_right=only_second_right,
        p_value=mcnemar(only_first_right, only_second_right),
    )


def mcnemar(only_first_right: int, only_second_right: int) -> float:
    """The two-sided p value of McNemar's exact test that both models are right equally often.

    If they are, an image that only one of them predicts correctly is equally likely to be either's: a binomial
    distribution with probability 1/2. Without such an image the p value is 1.

    Source: Q. McNemar, Note on the sampling error of the difference between correlated proportions or percentages,
    Psychometrika 12 (1947); T. G. Dietterich, Approximate statistical tests for comparing supervised classification
    learning algorithms, Neural Computation 10 (1998), for its use on classifiers.
    """
    discordant = only_first_right + only_second_right
    return float(binomtest(only_first_right, discordant, 0.5).pvalue) if discordant else 1.0


def _figures(
    counts: NDArray[np.int64], kinds: NDArray[np.int64], classes: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Both models' accuracy, macro F1 and F1 of each class in many samples.

    Args:
        counts: shape (samples, kinds), how many images of each kind a sample has; at least one image in each sample.
        kinds: shape (kinds, 3), the triples (actual, first, second).
        classes: how many classes there are.

    Returns:
        Two arrays of shape (samples, 2 + classes).
    """
    actual, *predicted = kinds.T
    first, second = (bootstrap.samples(counts, actual, each, classes) for each in predicted)
    first_figures, second_figures = (
        np.column_stack([each.accuracy, each.macro(each.f1), each.f1]) for each in (first, second)
    )
    return first_figures, second_figures
