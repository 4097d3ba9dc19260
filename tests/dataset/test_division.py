"""How images are dealt out to parts: by class, by group, and as the seed says."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from sklearn.model_selection import StratifiedGroupKFold

from stages.dataset.division import assigned, joined

seeds = st.integers(0, 2**32 - 1)
some_shares = st.lists(st.integers(1, 20), min_size=2, max_size=2) | st.integers(2, 6).map(lambda folds: [1] * folds)
class_sizes = st.lists(st.integers(1, 40), min_size=1, max_size=6)


def labels_of(sizes: list[int]) -> NDArray[np.int32]:
    return np.repeat(np.arange(len(sizes), dtype=np.int32), sizes)


def counts_of(parts: NDArray[np.int64], labels: NDArray[np.int32], number: int) -> NDArray[np.int64]:
    """Shape (parts, classes)."""
    counts = np.zeros((number, labels.max() + 1), np.int64)
    np.add.at(counts, (parts, labels), 1)
    return counts


@given(class_sizes, some_shares, seeds)
def test_each_part_has_its_share_of_each_class_to_one_image(sizes: list[int], shares: list[int], seed: int) -> None:
    labels = labels_of(sizes)
    parts = assigned(labels, np.arange(len(labels)), shares, [seed])
    counts = counts_of(parts, labels, len(shares))
    assert (np.abs(counts * sum(shares) - np.outer(shares, sizes)) <= sum(shares)).all()
    for size, of_class in zip(sizes, counts.T, strict=True):
        if size >= len(shares):
            assert of_class.all()


@given(class_sizes, st.integers(1, 9), some_shares, seeds)
def test_no_group_is_in_two_parts(sizes: list[int], number: int, shares: list[int], seed: int) -> None:
    labels = labels_of(sizes)
    groups = np.unique(np.random.default_rng(seed).integers(0, number, len(labels)), return_inverse=True)[1]
    parts = assigned(labels, groups, shares, [seed])
    assert len(parts) == len(labels)
    for group in range(groups.max() + 1):
        assert len(set(parts[groups == group])) == 1
    assert np.array_equal(parts, assigned(labels, groups, shares, [seed]))


def test_the_remainders_of_many_small_classes_add_up_to_no_lack() -> None:
    labels = labels_of([12] * 100)  # a fifth of 12 is 2.4
    parts = assigned(labels, np.arange(1200), [4, 1], [1])
    assert np.bincount(parts).tolist() == [960, 240]
    parts = assigned(labels, np.arange(1200), [1] * 5, [1])
    assert np.bincount(parts).tolist() == [240] * 5


def test_another_seed_deals_otherwise_and_each_image_is_drawn_equally_often() -> None:
    labels = labels_of([30, 20])
    drawn = np.stack([assigned(labels, np.arange(50), [4, 1], [seed]) for seed in range(1000)])
    often = drawn.mean(axis=0)
    assert len(np.unique(drawn, axis=0)) > 990
    assert (np.abs(often - 0.2) < 5 * np.sqrt(0.2 * 0.8 / 1000)).all()  # five standard errors


def test_folds_of_groups_are_as_balanced_as_scikit_learns() -> None:
    def imbalance(parts: NDArray[np.int64], labels: NDArray[np.int32]) -> float:
        """Chi-square: the squared deviations from what each class would give to each fold."""
        counts, sizes = counts_of(parts, labels, 5), np.bincount(labels)
        return float((((counts - sizes / 5) ** 2) / sizes).sum())

    ours, theirs = [], []
    for seed in range(20):
        generator = np.random.default_rng(seed)
        groups = np.repeat(np.arange(40), generator.geometric(0.1, 40))
        mixtures = generator.dirichlet([0.5, 1, 2], 40)  # of the classes in each group, as patients have diseases
        labels = np.array([generator.choice(3, p=mixtures[group]) for group in groups], np.int32)
        ours.append(imbalance(assigned(labels, groups, [1] * 5, [seed]), labels))
        parts = np.zeros(len(labels), np.int64)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of classes with few images
            splitter = StratifiedGroupKFold(5, shuffle=True, random_state=seed)
            for fold, (_, held_out) in enumerate(splitter.split(labels, labels, groups)):
                parts[held_out] = fold
        theirs.append(imbalance(parts, labels))
    assert np.mean(ours) < np.mean(theirs)


def test_a_pair_joins_the_groups_of_its_images() -> None:
    names = ["a", "b", "a", "c", "d", "e"]
    assert joined(names, np.zeros((0, 2), np.int64)).tolist() == [0, 1, 0, 2, 3, 4]
    assert joined(names, np.array([[3, 2], [5, 4]])).tolist() == [0, 1, 0, 0, 2, 2]


@pytest.mark.parametrize("count", [1, 5])
def test_images_of_one_group_all_go_to_the_larger_part(count: int) -> None:
    assert assigned(labels_of([count]), np.zeros(count, np.int64), [17, 3], [1]).tolist() == [0] * count
