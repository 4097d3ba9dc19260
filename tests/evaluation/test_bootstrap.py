"""The bootstrap: what it draws, and the figures of its samples, which are scikit-learn's."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
from sklearn import metrics

from stages.evaluation import bootstrap

COUNTS = np.array([40, 0, 7, 1, 252])


def test_the_figures_of_many_samples_are_scikit_learns_of_each() -> None:
    # Of six classes some are in no label, in no prediction, or in neither of most samples.
    random = np.random.default_rng(4)
    actual, predicted = random.integers(0, 6, (2, 12))
    counts = random.integers(0, 3, (50, 12)) * (random.random((50, 12)) < 0.5)
    counts[:, 0] += 1
    samples = bootstrap.samples(counts, actual, predicted, 6)
    for row, count in enumerate(counts):
        labels, guesses = np.repeat(actual, count), np.repeat(predicted, count)
        assert samples.accuracy[row] == pytest.approx(metrics.accuracy_score(labels, guesses))
        by_class = metrics.precision_recall_fscore_support(labels, guesses, labels=range(6), zero_division=0.0)
        macro, weighted = (
            metrics.precision_recall_fscore_support(
                labels, guesses, labels=np.unique(labels), average=average, zero_division=0.0
            )
            for average in ("macro", "weighted")
        )
        for index, ratio in enumerate((samples.precision, samples.recall, samples.f1)):
            assert ratio[row] == pytest.approx(by_class[index])
            assert samples.macro(ratio)[row] == pytest.approx(macro[index])
            assert samples.weighted(ratio)[row] == pytest.approx(weighted[index])


def test_a_resample_has_as_many_images_and_of_each_kind_its_share_on_average() -> None:
    drawn = np.concatenate(list(bootstrap.resamples(COUNTS, 3)))
    assert drawn.shape == (10_000, 5)
    assert set(drawn.sum(axis=1)) == {300}
    np.testing.assert_allclose(drawn.mean(axis=0), COUNTS, atol=0.3)
    np.testing.assert_allclose(drawn.var(axis=0), COUNTS * (1 - COUNTS / 300), rtol=0.1)


@pytest.mark.parametrize("cells", [1, 7 * 5, 4_999 * 5])
def test_the_size_of_the_chunks_changes_no_resample(cells: int, monkeypatch: pytest.MonkeyPatch) -> None:
    (whole,) = bootstrap.resamples(COUNTS, 3)
    monkeypatch.setattr(bootstrap, "CELLS", cells)
    chunks = list(bootstrap.resamples(COUNTS, 3))
    assert max(len(chunk) for chunk in chunks) == max(1, cells // 5)
    np.testing.assert_array_equal(np.concatenate(chunks), whole)


def test_ten_thousand_kinds_take_no_more_memory_than_a_few_chunks() -> None:
    kinds, classes = 10_000, 500
    actual, predicted = np.random.default_rng(1).integers(0, classes, (2, kinds))
    tracemalloc.start()
    try:
        chunk = next(bootstrap.resamples(np.ones(kinds, int), classes))
        bootstrap.samples(chunk, actual, predicted, classes)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 100_000_000  # all resamples at once would be 800 MB
