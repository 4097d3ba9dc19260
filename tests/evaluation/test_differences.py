"""Differences of two models, compared with scipy's paired bootstrap, a sum of binomial terms and counts by hand."""

from __future__ import annotations

import tracemalloc
from fractions import Fraction
from math import comb

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.stats import bootstrap
from sklearn import metrics

from stages.evaluation import differences
from stages.evaluation.results import Interval

CLASSES = ("a", "b", "c")


def two_models(count: int) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Labels, and the predictions of two models that err on many of the same images; the second is the better one."""
    random = np.random.default_rng(8)
    actual = random.integers(0, 3, count)
    first = np.where(random.random(count) < 0.6, actual, random.integers(0, 3, count))
    second = np.where(random.random(count) < 0.3, actual, first)
    return actual, first, second


def f1_macro(actual: NDArray[np.int64], predicted: NDArray[np.int64]) -> float:
    """Macro F1 by its definition; scikit-learn's takes too long for thousands of resamples."""
    hits = [np.sum((actual == each) & (predicted == each)) for each in range(3)]
    sizes = [np.sum(actual == each) + np.sum(predicted == each) for each in range(3)]
    return float(np.mean([2 * hit / size for hit, size in zip(hits, sizes, strict=True)]))


@pytest.mark.slow
@pytest.mark.parametrize("figure", ["accuracy", "f1_macro"])
def test_the_intervals_are_those_of_scipys_paired_bootstrap_over_the_images(figure: str) -> None:
    actual, first, second = two_models(300)

    def difference(rows: NDArray[np.int64]) -> float:
        if figure == "accuracy":
            return float(np.mean(second[rows] == actual[rows]) - np.mean(first[rows] == actual[rows]))
        return f1_macro(actual[rows], second[rows]) - f1_macro(actual[rows], first[rows])

    rows = np.arange(300)
    expected = bootstrap(
        (rows,), difference, n_resamples=4000, vectorized=False, method="percentile", rng=np.random.default_rng(5)
    ).confidence_interval
    change = getattr(differences.between(actual, first, second, CLASSES), figure)
    assert change.difference == pytest.approx(difference(rows))
    assert (change.interval.low, change.interval.high) == pytest.approx((expected.low, expected.high), abs=0.008)


@pytest.mark.parametrize(("first", "second"), [(0, 1), (5, 5), (3, 12), (40, 70), (250, 251)])
def test_mcnemars_p_value_is_the_sum_of_the_binomial_terms_that_are_no_likelier(first: int, second: int) -> None:
    total = first + second
    terms = [Fraction(comb(total, hits), 2**total) for hits in range(total + 1)]
    expected = sum(term for term in terms if term <= terms[first])
    assert differences.mcnemar(first, second) == pytest.approx(float(expected))


def test_without_an_image_that_one_alone_predicts_right_mcnemars_p_value_is_1() -> None:
    assert differences.mcnemar(0, 0) == 1.0


def test_a_case_counted_by_hand() -> None:
    actual, first, second = (np.array(list(row), int) for row in ("001122", "011122", "001100"))
    found = differences.between(actual, first, second, CLASSES)
    assert (found.only_first_right, found.only_second_right) == (2, 1)
    assert found.changed.tolist() == [1, 4, 5]
    assert (found.accuracy.first, found.accuracy.second) == (5 / 6, 4 / 6)
    assert found.p_value == 1.0
    a, b, c = found.f1
    assert (a.first, b.first, c.first) == pytest.approx((2 / 3, 4 / 5, 1))
    assert (a.second, b.second, c.second) == pytest.approx((2 / 3, 1, 0))
    assert (found.f1_macro.first, found.f1_macro.second) == pytest.approx((37 / 45, 5 / 9))


def test_figures_of_each_model_are_scikit_learns() -> None:
    actual, first, second = two_models(200)
    found = differences.between(actual, first, second, CLASSES)
    for predicted, which in ((first, "first"), (second, "second")):
        assert getattr(found.accuracy, which) == pytest.approx(metrics.accuracy_score(actual, predicted))
        assert getattr(found.f1_macro, which) == pytest.approx(metrics.f1_score(actual, predicted, average="macro"))
        f1 = [getattr(each, which) for each in found.f1]
        assert f1 == pytest.approx(metrics.f1_score(actual, predicted, average=None))


def test_a_class_without_images_that_one_model_predicts_counts_in_no_average() -> None:
    found = differences.between(np.array([0, 1]), np.array([0, 1]), np.array([0, 2]), CLASSES)
    assert [each.second for each in found.f1] == [1.0, 0.0, 0.0]
    assert found.f1_macro.second == pytest.approx(1 / 2)
    back = differences.between(np.array([0, 1]), np.array([0, 2]), np.array([0, 1]), CLASSES)
    assert [each.second for each in back.f1] == [1.0, 1.0, 0.0]
    assert all(np.isfinite([each.interval.low, each.interval.high]).all() for each in (*found.f1, *back.f1))


def test_the_better_model_gains_clearly_and_the_other_way_round_loses_as_much() -> None:
    actual, first, second = two_models(600)
    forth, back = (differences.between(actual, *pair, CLASSES) for pair in ((first, second), (second, first)))
    assert forth.accuracy.clear
    assert forth.accuracy.difference == -back.accuracy.difference > 0
    assert forth.p_value == back.p_value < 1e-6


def test_equal_predictions_differ_by_nothing() -> None:
    actual, first, _ = two_models(50)
    found = differences.between(actual, first, first, CLASSES)
    assert found.accuracy.interval == Interval(0.0, 0.0)
    assert not found.accuracy.clear
    assert len(found.changed) == 0


@pytest.mark.slow
def test_the_intervals_hold_the_true_difference_about_as_often_as_they_say() -> None:
    # Two models that err independently on 20 % and 10 % of 500 images: the difference is 0.1.
    random = np.random.default_rng(2)
    hits = 0
    for _ in range(60):
        actual = random.integers(0, 2, 500)
        first, second = (np.where(random.random(500) < error, 1 - actual, actual) for error in (0.2, 0.1))
        interval = differences.between(actual, first, second, ("a", "b")).accuracy.interval
        hits += interval.low <= 0.1 <= interval.high
    assert hits >= 53


@pytest.mark.slow
def test_many_classes_take_the_memory_of_the_differences_and_not_that_of_all_resamples() -> None:
    actual, first, second = np.random.default_rng(1).integers(0, 200, (3, 2000))
    tracemalloc.start()
    try:
        found = differences.between(actual, first, second, [str(each) for each in range(200)])
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 100_000_000  # the resamples of 2,000 triples at once would be 160 MB
    assert found.f1_macro.second == pytest.approx(metrics.f1_score(actual, second, average="macro"))
    assert found.f1_macro.interval.low < found.f1_macro.difference < found.f1_macro.interval.high
