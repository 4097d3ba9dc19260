"""Calibration: the bins of the reliability diagram and the expected calibration error, on figures known beforehand."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from stages.evaluation import calibration
from stages.evaluation.calibration import BINS, Bin, expected_calibration_error, reliability


def two_class_probabilities(confidence: list[float]) -> NDArray[np.float32]:
    """Probabilities whose highest, that of class 0, are the given ones."""
    top = np.asarray(confidence, np.float32)
    both: NDArray[np.float32] = np.stack([top, 1 - top], axis=1)
    return both


def test_each_bin_has_the_mean_confidence_and_accuracy_of_its_images() -> None:
    probabilities = two_class_probabilities([0.62, 0.64, 0.95, 0.97, 0.99, 0.96])
    bins = reliability(np.array([0, 1, 0, 0, 0, 1], np.int32), probabilities)
    assert [each.confidence for each in bins] == pytest.approx([0.63, 0.9675])
    assert [(each.accuracy, each.images) for each in bins] == [(0.5, 2), (0.75, 4)]
    assert expected_calibration_error(bins) == pytest.approx((2 * 0.13 + 4 * 0.2175) / 6)


def test_probabilities_that_mean_what_they_say_have_no_error() -> None:
    bins = reliability(np.array([0, 0, 0, 1], np.int32), two_class_probabilities([0.75] * 4))
    assert expected_calibration_error(bins) == 0


def test_full_certainty_falls_into_the_last_bin_and_its_error_is_the_share_of_mistakes() -> None:
    bins = reliability(np.array([0, 1], np.int32), two_class_probabilities([1.0, 1.0]))
    assert bins == [Bin(1.0, 0.5, 2)]
    assert expected_calibration_error(bins) == 0.5


def test_the_error_is_that_of_the_definition_on_random_cases() -> None:
    random = np.random.default_rng(3)
    for classes in (2, 5, 10):
        probabilities = random.dirichlet(np.ones(classes), 500).astype(np.float32)
        labels = random.integers(0, classes, 500).astype(np.int32)
        confidence, right = probabilities.max(axis=1).astype(float), probabilities.argmax(axis=1) == labels
        expected = 0.0
        for number in range(BINS):
            inside = (confidence > number / BINS) & (confidence <= (number + 1) / BINS)
            expected += abs(right[inside].sum() - confidence[inside].sum()) / 500
        bins = reliability(labels, probabilities)
        assert expected_calibration_error(bins) == pytest.approx(expected)
        assert sum(each.images for each in bins) == 500


def test_the_bins_are_read_back_from_a_row_each(tmp_path: Path) -> None:
    file = tmp_path / "reliability.json"
    bins = [Bin(0.25, 0.5, 4), Bin(0.9876543, 1.0, 6)]
    calibration.write(file, bins)
    assert calibration.load(file) == [bins[0], Bin(0.987654, 1.0, 6)]
