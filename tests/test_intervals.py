"""Intervals of the headline figures, compared with scipy's bootstrap over images and with published figures."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import bootstrap
from sklearn import metrics

from stages.evaluation import intervals


def test_the_interval_of_a_share_is_wilsons_formula() -> None:
    hits, count, z = 81, 263, 1.959964
    centre = (hits + z**2 / 2) / (count + z**2)
    half = z / (count + z**2) * np.sqrt(hits * (count - hits) / count + z**2 / 4)
    interval = intervals.of_share(hits, count)
    assert (interval.low, interval.high) == pytest.approx((centre - half, centre + half), abs=1e-6)


@pytest.mark.parametrize(("hits", "low", "high"), [(0, 0.0, 0.2775), (10, 0.7225, 1.0)])
def test_none_and_all_of_ten_right_have_an_interval_that_is_no_point(hits: int, low: float, high: float) -> None:
    interval = intervals.of_share(hits, 10)
    assert (interval.low, interval.high) == pytest.approx((low, high), abs=1e-4)


def test_the_interval_of_macro_f1_is_that_of_scipys_bootstrap_over_the_images() -> None:
    random = np.random.default_rng(3)
    actual = random.integers(0, 4, 400)
    predicted = np.where(random.random(400) < 0.7, actual, random.integers(0, 4, 400))

    def f1(rows: np.ndarray) -> float:
        return float(metrics.f1_score(actual[rows], predicted[rows], average="macro"))

    expected = bootstrap(
        (np.arange(400),), f1, n_resamples=500, vectorized=False, method="percentile", rng=np.random.default_rng(5)
    ).confidence_interval
    interval = intervals.of_f1_macro(metrics.confusion_matrix(actual, predicted))
    assert (interval.low, interval.high) == pytest.approx((expected.low, expected.high), abs=0.01)


def test_macro_f1_of_many_samples_is_scikit_learns_with_the_classes_that_occur() -> None:
    random = np.random.default_rng(4)
    actual, predicted = random.integers(0, 6, (2, 12))
    counts = random.integers(0, 3, (50, 12)) * (random.random((50, 12)) < 0.5)
    counts[:, 0] += 1
    expected = [
        metrics.f1_score(np.repeat(actual, row), np.repeat(predicted, row), average="macro", zero_division=0.0)
        for row in counts
    ]
    np.testing.assert_allclose(intervals.f1_macro(counts, actual, predicted, 6), expected)


def test_an_interval_leaves_out_a_fortieth_of_the_resamples_at_each_end() -> None:
    assert intervals.percentiles(np.arange(1001.0)) == intervals.Interval(25.0, 975.0)


def test_the_same_counts_give_the_same_interval() -> None:
    confusion = np.array([[8, 2], [3, 7]])
    assert intervals.of_f1_macro(confusion) == intervals.of_f1_macro(confusion)


def test_a_perfect_prediction_has_no_spread_of_macro_f1() -> None:
    assert intervals.of_f1_macro(np.diag([5, 5, 0])) == intervals.Interval(1.0, 1.0)
