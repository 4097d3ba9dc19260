"""The order of the training examples."""

from __future__ import annotations

from itertools import pairwise
from typing import Literal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stages.model.backend import tf
from stages.model.batches import EpochOrder, epoch_order

folder_sizes = st.lists(st.integers(1, 60), min_size=1, max_size=4)
shuffles: st.SearchStrategy[Literal["windowed", "full"]] = st.sampled_from(["windowed", "full"])


def batches_of(order: EpochOrder) -> list[list[int]]:
    return [order.rows[a:b].tolist() for a, b in zip(order.bounds[:-1], order.bounds[1:], strict=True)]


@given(shuffles, folder_sizes, st.integers(1, 20), st.integers(0, 2**32 - 1), st.integers(1, 100))
def test_an_epoch_sees_every_example_once(
    shuffle: Literal["windowed", "full"], sizes: list[int], batch_size: int, seed: int, epoch: int
) -> None:
    order = epoch_order(shuffle, sizes, batch_size, seed, epoch)
    assert sorted(order.rows) == list(range(sum(sizes)))
    assert all(1 <= len(batch) <= batch_size for batch in batches_of(order))


@given(shuffles, folder_sizes, st.integers(0, 2**32 - 1), st.integers(1, 100))
def test_the_order_depends_on_seed_and_epoch_alone(
    shuffle: Literal["windowed", "full"], sizes: list[int], seed: int, epoch: int
) -> None:
    first, second = (epoch_order(shuffle, sizes, 4, seed, epoch) for _ in range(2))
    assert first.rows.tolist() == second.rows.tolist()
    assert first.bounds.tolist() == second.bounds.tolist()


@pytest.mark.parametrize("shuffle", ["windowed", "full"])
def test_another_seed_and_another_epoch_give_another_order(shuffle: Literal["windowed", "full"]) -> None:
    orders = {tuple(epoch_order(shuffle, [100, 100], 10, *at).rows) for at in [(1, 1), (1, 2), (2, 1)]}
    assert len(orders) == 3


def test_cifar10_has_628_batches_as_in_the_notebooks_log() -> None:
    sizes = np.diff(epoch_order("windowed", [10_000] * 4, 64, seed=1, epoch=1).bounds)
    assert sorted(sizes) == [16] * 4 + [64] * 624


def test_a_windowed_batch_comes_from_one_folder_and_the_batches_are_mixed() -> None:
    folders = [{row // 100 for row in batch} for batch in batches_of(epoch_order("windowed", [100] * 3, 10, 1, 1))]
    assert all(len(folder) == 1 for folder in folders)
    assert folders != sorted(folders, key=min)


def test_a_full_shuffle_mixes_the_folders_in_a_batch() -> None:
    assert any(len({row // 100 for row in batch}) > 1 for batch in batches_of(epoch_order("full", [100] * 3, 10, 1, 1)))


def neighbours(batches: list[list[list[int]]]) -> float:
    """Share of the pairs that meet in a batch which had met in a batch of another epoch too."""
    pairs = [{frozenset((a, b)) for batch in epoch for a in batch for b in batch if a < b} for epoch in batches]
    return len(pairs[0] & pairs[1]) / len(pairs[0])


@pytest.mark.slow
def test_the_window_keeps_company_as_tf_data_does() -> None:
    """Images stay near each other from epoch to epoch; how much is what the real ``tf.data`` pipeline does too."""
    size, batch_size = 2000, 10
    ours = [batches_of(epoch_order("windowed", [size], batch_size, 1, epoch)) for epoch in (1, 2)]
    data = tf.data.Dataset.range(size).shuffle(8 * batch_size, seed=1).batch(batch_size)
    theirs = [[batch.tolist() for batch in data.as_numpy_iterator()] for _ in range(2)]
    full = [batches_of(epoch_order("full", [size], batch_size, 1, epoch)) for epoch in (1, 2)]
    assert neighbours(ours) == pytest.approx(neighbours(theirs), rel=0.15)
    assert neighbours(full) < neighbours(ours) / 4


@given(folder_sizes, st.integers(1, 20), st.integers(1, 9), st.data())
def test_the_parts_of_a_batch_are_the_same_rows_whoever_computes_them(
    sizes: list[int], batch_size: int, parts: int, data: st.DataObject
) -> None:
    order = epoch_order("full", sizes, batch_size, 1, 1)
    start = data.draw(st.integers(0, parts - 1))
    share = range(start, data.draw(st.integers(start + 1, parts)))
    batches = slice(data.draw(st.integers(0, len(order.bounds) - 2)), len(order.bounds) - 1)

    rows, cuts = order.share(batches, share, parts)

    for batch, cut in zip(batches_of(order)[batches], cuts, strict=True):
        whole = [batch[len(batch) * part // parts : len(batch) * (part + 1) // parts] for part in range(parts)]
        assert [rows[a:b].tolist() for a, b in pairwise(cut)] == [whole[part] for part in share]
        assert max(cut[:-1]) < len(rows)  # an empty part borrows the row at its place
