"""Intervals of the headline figures, compared with the plain bootstrap over images and with published formulas."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.special import logit
from scipy.stats import bootstrap
from sklearn import metrics

from stages.evaluation import intervals, scores
from stages.evaluation.results import Interval

Split = tuple[NDArray[np.int32], NDArray[np.float32]]
CASES = ("ordinary", "ties", "absent class", "rare class", "unsure")


def some_split(case: str, count: int = 300, seed: int = 3) -> Split:
    """Labels of five classes, and probabilities that tell them apart fairly well."""
    random = np.random.default_rng(seed)
    shares = {"absent class": (0.3, 0.3, 0.3, 0.1, 0), "rare class": (0.24, 0.24, 0.24, 0.24, 0.04)}
    labels = random.choice(5, count, p=shares.get(case, (0.2,) * 5)).astype(np.int32)
    weights = np.exp(random.normal(size=(count, 5)) + (0.3 if case == "unsure" else 1.5) * np.eye(5)[labels])
    if case == "ties":
        weights = np.ceil(weights)
    return labels, (weights / weights.sum(axis=1, keepdims=True)).astype(np.float32)


def figures(labels: NDArray[np.int32], probabilities: NDArray[np.float32]) -> dict[str, float]:
    """The averages over the classes with images by scikit-learn, macro AUC as the mean over pairs of images."""
    found: dict[str, float] = {}
    for average in ("macro", "weighted"):
        values = metrics.precision_recall_fscore_support(
            labels, probabilities.argmax(axis=1), labels=np.unique(labels), average=average, zero_division=0.0
        )
        found |= {f"{name}_{average}": values[index] for index, name in enumerate(("precision", "recall", "f1"))}
    areas = []
    for index in np.unique(labels):
        own, others = (probabilities[mask, index] for mask in (labels == index, labels != index))
        above, equal = own[:, None] > others, own[:, None] == others
        areas.append(above.mean() + equal.mean() / 2)
    return found | {"auc_macro": float(np.mean(areas))}


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES)
def test_the_intervals_are_those_of_the_plain_bootstrap_over_the_images(case: str) -> None:
    labels, probabilities = some_split(case)
    random = np.random.default_rng(5)
    resamples = [random.integers(0, len(labels), len(labels)) for _ in range(500)]
    drawn = [figures(labels[rows], probabilities[rows]) for rows in resamples]
    results = scores.evaluate(labels, probabilities, "abcde")
    found = intervals.headline(labels, probabilities, results)
    for name, value in figures(labels, probabilities).items():
        assert getattr(results, name) == pytest.approx(value)
        resampled = np.array([each[name] for each in drawn])
        # Around the figure; that of AUC is around it anyway.
        expected = np.percentile(resampled, [2.5, 97.5]) - (resampled.mean() - value)
        interval = found[name]
        assert interval is not None
        # A tenth of the width for chance in 500 resamples and for another method.
        tolerance = (expected[1] - expected[0]) / 10
        assert (interval.low, interval.high) == pytest.approx(tuple(expected), abs=tolerance), name


def test_the_headline_figures_with_macro_auc_have_an_interval_each_in_their_order() -> None:
    labels, probabilities = some_split("ordinary")
    results = scores.evaluate(labels, probabilities, "abcde")
    found = intervals.headline(labels, probabilities, results)
    assert list(found) == [*scores.headline(results), "auc_macro"]
    assert all(each and each.low < getattr(results, name) < each.high for name, each in found.items())
    assert found["recall_weighted"] == found["accuracy"]
    assert intervals.headline(labels, probabilities, results) == found


@pytest.mark.slow
@pytest.mark.parametrize(("classes", "images"), [(1000, 1), (500, 5), (10, 20)])
def test_an_interval_holds_its_figure_however_few_images_a_class_has(classes: int, images: int) -> None:
    random = np.random.default_rng(classes)
    labels = np.repeat(np.arange(classes), images)
    hit = random.random(len(labels)) < random.uniform(0.2, 0.8, classes)[labels]
    predicted = np.where(hit, labels, random.choice(classes, len(labels), p=random.dirichlet(np.full(classes, 0.5))))
    confusion = np.zeros((classes, classes), np.int64)
    np.add.at(confusion, (labels, predicted), 1)
    precision, recall, f1, _ = metrics.precision_recall_fscore_support(
        labels, predicted, average="macro", zero_division=0.0, labels=np.arange(classes)
    )
    found = intervals.percentile_bootstrap(confusion)
    for name, figure in (("precision_macro", precision), ("recall_macro", recall), ("f1_macro", f1)):
        interval = found[name]
        assert interval is not None
        assert interval.low < figure < interval.high
        assert (interval.low + interval.high) / 2 == pytest.approx(figure, abs=0.1 * (interval.high - interval.low))


def test_the_intervals_of_a_rare_class_that_is_never_found_hold_their_figures() -> None:
    confusion = np.array([[200, 0], [4, 0]])
    found = intervals.percentile_bootstrap(confusion)
    for name, figure in (("precision_macro", 200 / 204 / 2), ("f1_macro", 400 / 404 / 2)):
        interval = found[name]
        assert interval is not None
        assert interval.low < figure < interval.high


def test_the_interval_of_a_share_is_wilsons_formula() -> None:
    hits, count, z = 81, 263, 1.959964
    centre = (hits + z**2 / 2) / (count + z**2)
    half = z / (count + z**2) * np.sqrt(hits * (count - hits) / count + z**2 / 4)
    interval = intervals.wilson(hits, count)
    assert (interval.low, interval.high) == pytest.approx((centre - half, centre + half), abs=1e-6)


@pytest.mark.parametrize(("hits", "low", "high"), [(0, 0.0, 0.2775), (10, 0.7225, 1.0)])
def test_none_and_all_of_ten_right_have_an_interval_that_is_no_point(hits: int, low: float, high: float) -> None:
    interval = intervals.wilson(hits, 10)
    assert (interval.low, interval.high) == pytest.approx((low, high), abs=1e-4)


@pytest.mark.parametrize("case", CASES)
def test_the_interval_of_the_loss_is_that_of_scipys_bootstrap_over_the_images(case: str) -> None:
    losses = scores.cross_entropies(*some_split(case))
    expected = bootstrap((losses,), np.mean, method="percentile", rng=np.random.default_rng(5)).confidence_interval
    interval = intervals.student(losses)
    assert interval is not None
    tolerance = float(expected.high - expected.low) / 20
    assert (interval.low, interval.high) == pytest.approx((expected.low, expected.high), abs=tolerance)


def test_the_interval_of_a_loss_by_hand_and_cut_off_at_0() -> None:
    # Two losses around 3 with a deviation of the square root of 2, so an error of 1; t with one degree of freedom.
    interval = intervals.student(np.array([2.0, 4.0]))
    assert interval is not None
    assert interval.low == 0
    assert interval.high == pytest.approx(3 + 12.7062, abs=1e-4)


def test_an_interval_leaves_out_a_fortieth_of_the_resamples_at_each_end() -> None:
    assert intervals.percentiles(np.arange(1001, dtype=np.float64)) == Interval(25.0, 975.0)


def test_the_structural_components_by_hand() -> None:
    is_class = np.array([True, True, False, False, False])
    probability = np.array([0.9, 0.5, 0.5, 0.7, 0.1], np.float32)
    components = intervals.structural_components(is_class, probability)
    assert components.tolist() == pytest.approx([1, 1.5 / 3, 1.5 / 2, 1 / 2, 1])


def test_for_two_classes_the_error_of_macro_auc_is_delongs_with_divisors_n() -> None:
    random = np.random.default_rng(7)
    labels = (np.arange(60) % 3 == 0).astype(np.int32)
    second = np.round(np.clip(random.normal(0.4 + 0.2 * labels, 0.2), 0.05, 0.95), 1)
    own, others = second[labels == 1][:, None], second[labels == 0]
    wins = (own > others) + (own == others) / 2
    area = wins.mean()
    error = np.sqrt((wins.mean(axis=1).var() / len(own) + wins.mean(axis=0).var() / len(others)) * 60 / 59)
    interval = intervals.delong(labels, np.stack([1 - second, second], axis=1))
    assert interval is not None
    expected = logit(area) + np.array([-1, 1]) * 1.959964 * error / (area * (1 - area))
    assert logit([interval.low, interval.high]) == pytest.approx(expected)


@pytest.mark.slow
def test_the_intervals_of_macro_auc_hold_its_true_value_about_as_often_as_they_say() -> None:
    true_value = figures(*some_split("ordinary", 20_000, seed=0))["auc_macro"]
    found = [intervals.delong(*some_split("ordinary", 150, seed)) for seed in range(1, 201)]
    assert 180 <= sum(each is not None and each.low <= true_value <= each.high for each in found) <= 198


@pytest.mark.parametrize(
    ("labels", "probabilities"),
    [
        ([0], [[0.6, 0.4]]),  # a single image
        ([0, 0, 0], [[0.9, 0.1]] * 3),  # a single class
        ([0, 1, 1], [[1, 0], [0, 1], [0, 1]]),  # all right and sure
        ([0, 1], [[0, 1], [1, 0]]),  # all wrong and sure
    ],
)
def test_without_any_spread_accuracy_alone_has_an_interval(labels: list[int], probabilities: list[list[float]]) -> None:
    split = np.array(labels, np.int32), np.array(probabilities, np.float32)
    found = intervals.headline(*split, scores.evaluate(*split, ("no", "yes")))
    assert {name for name, each in found.items() if each} == {"accuracy", "recall_weighted"}


def test_constant_scores_have_an_interval_of_f1_and_none_of_auc() -> None:
    split = np.array([0, 1, 1, 2, 2, 2], np.int32), np.full((6, 3), 1 / 3, np.float32)
    found = intervals.headline(*split, scores.evaluate(*split, ("a", "b", "c")))
    assert found["f1_macro"] is not None
    assert found["auc_macro"] is None
    assert found["loss"] is None
