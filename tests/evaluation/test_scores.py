"""Scores, compared with scikit-learn and with cases counted by hand."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray
from scipy.special import softmax
from sklearn import metrics

from stages.common.console import UserError
from stages.evaluation import scores


def random_case(seed: int, count: int, classes: int) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
    """Labels and probabilities that are right more often than not; rounded, so that many are equal."""
    random = np.random.default_rng(seed)
    labels = random.integers(0, classes, count).astype(np.int32)
    weights = random.random((count, classes)) + np.eye(classes)[labels] * random.random((count, 1))
    probabilities = np.round(weights / weights.sum(axis=1, keepdims=True), 2) + 0.01
    return labels, (probabilities / probabilities.sum(axis=1, keepdims=True)).astype(np.float32)


def names(count: int) -> list[str]:
    return [f"class {index}" for index in range(count)]


def test_a_case_counted_by_hand() -> None:
    labels = np.array([0, 0, 1, 1], np.int32)
    probabilities = np.array([[0.9, 0.1], [0.4, 0.6], [0.3, 0.7], [0.2, 0.8]], np.float32)
    result = scores.evaluate(labels, probabilities, ["cat", "dog"])
    assert result.confusion.tolist() == [[1, 1], [0, 2]]
    assert result.predicted.tolist() == [0, 1, 1, 1]
    assert result.accuracy == 0.75
    cat, dog = result.classes
    assert (cat.precision, cat.recall, cat.support) == (1.0, 0.5, 2)
    assert (dog.precision, dog.recall, dog.support) == (2 / 3, 1.0, 2)
    assert cat.auc == dog.auc == 1.0
    assert result.loss == pytest.approx(-np.log([0.9, 0.4, 0.7, 0.8]).mean(), rel=1e-6)


@pytest.mark.parametrize("classes", [2, 3, 10])
@pytest.mark.parametrize("seed", range(5))
def test_every_score_equals_that_of_scikit_learn(seed: int, classes: int) -> None:
    labels, probabilities = random_case(seed, 300, classes)
    predicted = probabilities.argmax(axis=1)
    result = scores.evaluate(labels, probabilities, names(classes))
    assert_averages_are_scikit_learns(result, labels, predicted)
    assert result.loss == pytest.approx(metrics.log_loss(labels, probabilities, labels=range(classes)), rel=1e-5)
    table = metrics.classification_report(labels, predicted, target_names=names(classes), output_dict=True)
    for each in result.classes:
        row = table[each.name]
        assert (each.precision, each.recall, each.f1, each.support) == pytest.approx(
            (row["precision"], row["recall"], row["f1-score"], row["support"])
        )
    areas = [metrics.roc_auc_score(labels == index, probabilities[:, index]) for index in range(classes)]
    assert [each.auc for each in result.classes] == pytest.approx(areas)
    assert result.auc_macro == pytest.approx(np.mean(areas))


def assert_averages_are_scikit_learns(
    result: scores.Scores, labels: NDArray[np.int32], predicted: NDArray[np.int64]
) -> None:
    """Accuracy, averages over the classes with images, and the confusion matrix."""
    assert result.accuracy == pytest.approx(metrics.accuracy_score(labels, predicted))
    for average in ("macro", "weighted"):
        expected = metrics.precision_recall_fscore_support(
            labels, predicted, labels=np.unique(labels), average=average, zero_division=0.0
        )
        found = [getattr(result, f"{name}_{average}") for name in ("precision", "recall", "f1")]
        assert found == pytest.approx(expected[:3]), average
    classes = range(len(result.classes))
    np.testing.assert_array_equal(result.confusion, metrics.confusion_matrix(labels, predicted, labels=classes))


@pytest.mark.slow
@given(st.data())
@settings(max_examples=60)
def test_with_ties_absent_classes_and_constant_scores_every_score_is_still_scikit_learns(data: st.DataObject) -> None:
    classes, count = data.draw(st.integers(2, 5)), data.draw(st.integers(1, 25))
    labels = data.draw(arrays(np.int32, count, elements=st.integers(0, classes - 1)))
    # Weights of three values only, so that ties are the rule; a draw of one value alone makes all scores constant.
    weights = data.draw(arrays(np.int64, (count, classes), elements=st.integers(1, 3)))
    probabilities = (weights / weights.sum(axis=1, keepdims=True)).astype(np.float32)
    predicted = probabilities.argmax(axis=1)
    result = scores.evaluate(labels, probabilities, names(classes))
    assert_averages_are_scikit_learns(result, labels, predicted)
    assert result.loss == pytest.approx(-np.log(probabilities[np.arange(count), labels]).mean())
    areas = [
        # The share of pairs of one image of the class and one of another that are in the right order; a tie is half.
        np.mean(np.sign(np.subtract.outer(column[labels == index], column[labels != index])) + 1) / 2
        if 0 < np.sum(labels == index) < count
        else None
        for index, column in enumerate(probabilities.T)
    ]
    assert [each.auc for each in result.classes] == pytest.approx(areas)
    defined = [area for area in areas if area is not None]
    assert result.auc_macro == (pytest.approx(np.mean(defined)) if defined else None)


def test_constant_scores_have_the_auc_of_chance() -> None:
    labels = np.array([0, 1, 2, 2], np.int32)
    result = scores.evaluate(labels, np.full((4, 3), 1 / 3, np.float32), names(3))
    assert [each.auc for each in result.classes] == [0.5, 0.5, 0.5]
    assert result.predicted.tolist() == [0, 0, 0, 0]
    assert result.loss == pytest.approx(np.log(3), rel=1e-6)


def test_a_class_that_is_never_predicted_has_precision_0_and_no_warning_leaks() -> None:
    labels = np.array([0, 1], np.int32)
    probabilities = np.array([[0.9, 0.1], [0.8, 0.2]], np.float32)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        result = scores.evaluate(labels, probabilities, names(2))
    assert (result.classes[1].precision, result.classes[1].recall, result.classes[1].f1) == (0.0, 0.0, 0.0)
    assert not caught


def test_a_class_without_an_image_has_no_auc_and_counts_in_no_average() -> None:
    labels = np.array([0, 0, 1, 1], np.int32)
    probabilities = np.array([[0.8, 0.1, 0.1], [0.3, 0.6, 0.1], [0.2, 0.7, 0.1], [0.1, 0.8, 0.1]], np.float32)
    result = scores.evaluate(labels, probabilities, names(3))
    first, second, absent = result.classes
    assert absent.auc is None
    assert absent.support == 0
    assert first.auc is not None
    assert second.auc is not None
    assert result.auc_macro == pytest.approx((first.auc + second.auc) / 2)
    assert result.recall_macro == pytest.approx(0.75)
    assert (absent.precision, absent.recall, absent.f1) == (None, None, None)
    assert scores.by_class(result)["class 2"] == {
        "precision": None,
        "recall": None,
        "f1": None,
        "auc": None,
        "support": 0,
    }
    assert [row["class"] for row in scores.f1_bars(result)] == ["class 0", "class 1"]
    assert result.confusion.shape == (3, 3)


def test_a_class_without_an_image_that_is_predicted_costs_those_that_are_taken_for_it_alone() -> None:
    labels = np.array([0, 0, 1, 1], np.int32)
    result = scores.evaluate(labels, np.eye(3, dtype=np.float32)[[0, 2, 1, 1]], names(3))
    assert result.accuracy == 0.75
    assert (result.precision_macro, result.recall_macro) == (1.0, 0.75)
    assert result.f1_macro == pytest.approx((2 / 3 + 1) / 2)
    assert (result.classes[2].precision, result.classes[2].f1, result.classes[2].support) == (None, None, 0)
    assert result.confusion[0].tolist() == [1, 0, 1]


def test_a_split_of_one_class_has_no_auc_at_all() -> None:
    result = scores.evaluate(np.zeros(3, np.int32), np.full((3, 2), 0.5, np.float32), names(2))
    assert [each.auc for each in result.classes] == [None, None]
    assert result.auc_macro is None
    assert scores.roc_points(result) == []


def test_of_very_many_classes_the_plots_have_those_with_the_lowest_values() -> None:
    labels = np.arange(360, dtype=np.int32) % 120
    random = np.random.default_rng(1)
    weights = random.random((360, 120)) + 0.7 * np.eye(120)[labels]
    result = scores.evaluate(labels, (weights / weights.sum(axis=1, keepdims=True)).astype(np.float32), names(120))
    for rows, key in ((scores.f1_bars(result), "f1"), (scores.roc_points(result), "auc")):
        shown = list(dict.fromkeys(row["class"] for row in rows))
        left_out = [getattr(each, key) for each in result.classes if each.name not in shown]
        assert (len(shown), len(left_out)) == (100, 20)
        assert max(row[key] for row in rows) <= min(left_out)
        assert shown == [name for name in result.class_names if name in shown]


def test_a_certain_mistake_costs_as_much_as_in_training_which_takes_the_loss_from_logits() -> None:
    probabilities = softmax(np.array([[60.0, 0.0]], np.float32), axis=1)
    result = scores.evaluate(np.array([1], np.int32), probabilities, names(2))
    assert result.loss == pytest.approx(60)


def test_a_probability_of_0_of_the_actual_class_costs_a_finite_loss() -> None:
    result = scores.evaluate(np.array([1], np.int32), np.array([[1.0, 0.0]], np.float32), names(2))
    assert result.loss == pytest.approx(87.34, abs=0.01)


def test_the_loss_of_a_perfect_model_is_0_without_a_sign() -> None:
    assert str(scores.evaluate(np.array([0], np.int32), np.array([[1.0, 0.0]], np.float32), names(2)).loss) == "0.0"


def test_probabilities_of_a_diverged_training_are_an_error() -> None:
    with pytest.raises(UserError, match="training diverged"):
        scores.evaluate(np.array([0], np.int32), np.array([[np.nan, 0.5]], np.float32), names(2))


@pytest.mark.parametrize("count", [1, 2, 50, 20_000])
def test_a_thinned_curve_keeps_its_ends_and_its_area(count: int) -> None:
    random = np.random.default_rng(count)
    labels = np.arange(2 * count, dtype=np.int32) % 2
    positive = np.clip(random.normal(0.4 + 0.2 * labels, 0.2), 0.001, 0.999).astype(np.float32)
    curve = scores.evaluate(labels, np.stack([1 - positive, positive], axis=1), names(2)).classes[1].roc
    assert curve is not None
    thin = scores.thinned(curve)
    assert len(thin.true_positive_rate) <= 200
    assert (thin.false_positive_rate[0], thin.true_positive_rate[0]) == (0, 0)
    assert (thin.false_positive_rate[-1], thin.true_positive_rate[-1]) == (1, 1)
    assert thin.auc == curve.auc
    assert metrics.auc(thin.false_positive_rate, thin.true_positive_rate) == pytest.approx(curve.auc, abs=2e-4)


def test_thinning_the_worst_curve_loses_no_more_area_than_stated() -> None:
    # In each of the 100 pieces the curve goes straight up, then straight to the right: all above the chord is lost.
    start, step = np.arange(100) / 100 + 1e-6, 0.01 - 2e-6
    false_positive_rate = np.r_[0, np.stack([start, start, start + step], axis=1).ravel(), 1]
    true_positive_rate = np.r_[0, np.stack([start, start + step, start + step], axis=1).ravel(), 1]
    area = metrics.auc(false_positive_rate, true_positive_rate)
    thin = scores.thinned(scores.RocCurve(false_positive_rate, true_positive_rate, area))
    lost = area - metrics.auc(thin.false_positive_rate, thin.true_positive_rate)
    assert 0.0049 < lost <= 0.005
    assert len(thin.true_positive_rate) == 200


def test_rows_for_plots_name_the_classes() -> None:
    labels = np.array([0, 1, 1], np.int32)
    probabilities = np.array([[0.9, 0.1], [0.6, 0.4], [0.2, 0.8]], np.float32)
    result = scores.evaluate(labels, probabilities, ["cat", "dog"])
    assert scores.roc_points(result)[0] == {"class": "cat", "auc": 1.0, "fpr": 0.0, "tpr": 0.0}
    assert scores.by_class(result)["dog"] == {
        "precision": 1.0,
        "recall": 0.5,
        "f1": pytest.approx(2 / 3),
        "auc": 1.0,
        "support": 2,
    }
