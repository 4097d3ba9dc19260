"""95 % intervals of the headline figures: how far chance in the choice of the test images could move them.

They are about images drawn like those of the split, not about another training, whose seed moves the figures too.

A figure has no interval (None) if its method would return one of zero width, or if the figure is undefined: for example
with a single image, or if all are classified correctly and with certainty. Accuracy, and weighted recall, which equals
it, always have one.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, logit
from scipy.stats import binomtest, norm, rankdata, t

from stages.evaluation import bootstrap
from stages.evaluation.results import Interval
from stages.evaluation.scores import Scores, cross_entropies


def headline(
    labels: NDArray[np.int32], probabilities: NDArray[np.float32], scores: Scores
) -> dict[str, Interval | None]:
    """The intervals of the figures of ``scores.headline`` and of macro AUC, in this order.

    Args:
        labels: shape (n,), n at least 1.
        probabilities: shape (n, classes).
        scores: of these labels and probabilities.
    """
    share = wilson(int(np.trace(scores.confusion)), len(labels))
    return {
        "loss": student(cross_entropies(labels, probabilities)),
        "accuracy": share,
        **percentile_bootstrap(scores.confusion),
        "recall_weighted": share,
        "auc_macro": delong(labels, probabilities),
    }


def wilson(hits: int, count: int) -> Interval:
    """Wilson's score interval of the share ``hits / count``; ``count`` at least 1.

    Source: E. B. Wilson, Probable inference, the law of succession, and statistical inference, JASA 22 (1927).
    """
    interval = binomtest(hits, count).proportion_ci(confidence_level=0.95, method="wilson")
    return Interval(float(interval.low), float(interval.high))


def student(losses: NDArray[np.float64]) -> Interval | None:
    """Student's t interval of the mean of losses, shape (n,), n at least 1; cut off at 0, since no loss is negative.

    None if all losses are equal.
    """
    if np.ptp(losses) == 0:
        return None
    error = losses.std(ddof=1) / np.sqrt(len(losses))
    low, high = t.interval(0.95, len(losses) - 1, losses.mean(), error)
    return Interval(max(float(low), 0.0), float(high))


def percentile_bootstrap(confusion: NDArray[np.int64]) -> dict[str, Interval | None]:
    """The percentile bootstrap intervals of a confusion matrix's averages, by their names in ``Scores``.

    A resample lacks images that the split has, and with few images of a class this moves its averages all one way: by
    simulation, of 500 classes with 5 images each no interval of macro F1 held what it should. So each interval is moved
    by what the resamples' median differs from the figure, the bootstrap's estimate of this bias, and lies around the
    figure. Their mean would not do: where a rare class is never found, the few resamples without it score far higher.
    With few images of a class the intervals stay too narrow: of 4 such images among 204, with a recall of 0.1 or 0.3,
    those of macro F1 hold it in 33 or 73 % of simulated splits.

    Args:
        confusion: shape (classes, classes), at least one image.

    Source: B. Efron and R. J. Tibshirani, An Introduction to the Bootstrap (1993), chapters 10 and 13.
    """
    actual, predicted = np.nonzero(confusion)
    counts, classes = confusion[actual, predicted], len(confusion)
    chunks = [averages(each, actual, predicted, classes) for each in bootstrap.resamples(counts, classes)]
    found = {}
    for name, (figure,) in averages(counts[np.newaxis], actual, predicted, classes).items():
        values = np.concatenate([chunk[name] for chunk in chunks])
        found[name] = percentiles(np.clip(values - (np.median(values) - figure), 0, 1))
    return {name: None if each.low == each.high else each for name, each in found.items()}


def averages(
    counts: NDArray[np.int64], actual: NDArray[np.int64], predicted: NDArray[np.int64], classes: int
) -> dict[str, NDArray[np.float64]]:
    """The macro and weighted averages of each of many samples, shape (samples,), by their names in ``Scores``.

    The arguments are those of :func:`bootstrap.samples`.
    """
    samples = bootstrap.samples(counts, actual, predicted, classes)
    ratios = {"precision": samples.precision, "recall": samples.recall, "f1": samples.f1}
    macro = {f"{name}_macro": samples.macro(ratio) for name, ratio in ratios.items()}
    return macro | {f"{name}_weighted": samples.weighted(ratio) for name, ratio in ratios.items()}


def percentiles(values: NDArray[np.float64]) -> Interval:
    """The interval from the 2.5th to the 97.5th percentile of a figure's resampled values, shape (resamples,)."""
    low, high = np.percentile(values, [2.5, 97.5])
    return Interval(float(low), float(high))


def delong(labels: NDArray[np.int32], probabilities: NDArray[np.float32]) -> Interval | None:
    """The interval of macro AUC by DeLong's structural components, in O(n log n).

    For an image of the class, the component is the share of the other images that it outscores; for another image, the
    share of the class's images that outscore it. Ties count half. The mean over either group is the AUC. An image's
    influence on macro AUC is a sum over the classes, and the variance of macro AUC is that of the influences divided by
    n. For two classes this is DeLong's variance, but with divisors n instead of n - 1. The normal interval is computed
    on the logit scale, which keeps it between 0 and 1.

    Classes without an AUC are left out, as in macro AUC. None if no class has one, or if all influences are 0, as with
    an AUC of 1 or with constant scores. With few images of a class the interval is too narrow.

    Args:
        labels: shape (n,), n at least 1.
        probabilities: shape (n, classes).

    Sources: E. R. DeLong, D. M. DeLong and D. L. Clarke-Pearson, Comparing the areas under two or more correlated
    receiver operating characteristic curves: a nonparametric approach, Biometrics 44 (1988); X. Sun and W. Xu, Fast
    implementation of DeLong's algorithm for comparing the areas under correlated receiver operating characteristic
    curves, IEEE Signal Processing Letters 21 (2014), for the components by ranks; M. S. Pepe, The Statistical
    Evaluation of Medical Tests for Classification and Prediction (2003), section 5.2, for the logit.
    """
    is_class = [labels == index for index in range(probabilities.shape[1])]
    told_apart = [index for index, own in enumerate(is_class) if own.any() and not own.all()]
    areas, influence = [], np.zeros(len(labels))
    for index in told_apart:
        own = is_class[index]
        component = structural_components(own, probabilities[:, index])
        areas.append(component[own].mean())
        influence += (component - areas[-1]) / np.where(own, own.mean(), 1 - own.mean()) / len(told_apart)
    if not influence.any():
        return None
    area = np.mean(areas)
    error = influence.std(ddof=1) / np.sqrt(len(labels))
    # An error of the area times the logit's slope there is the error of the logit.
    low, high = expit(norm.interval(0.95, logit(area), error / (area * (1 - area))))
    return Interval(float(low), float(high))


def structural_components(is_class: NDArray[np.bool_], probability: NDArray[np.float32]) -> NDArray[np.float64]:
    """DeLong's structural components of the AUC of one class; see :func:`delong`.

    Args:
        is_class: shape (n,), which images are of the class; some are, and some are not.
        probability: shape (n,), of the class.

    Returns:
        Shape (n,), 0 to 1.
    """
    rank = rankdata(probability)
    components = np.empty(len(rank))
    components[is_class] = (rank[is_class] - rankdata(probability[is_class])) / np.sum(~is_class)
    components[~is_class] = 1 - (rank[~is_class] - rankdata(probability[~is_class])) / np.sum(is_class)
    return components
