"""The order of the training examples, as a function of the seed and the epoch and of nothing else.

So an epoch can be run again, or first, and sees its examples in the same order.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

# image_dataset_from_directory shuffles through a buffer of eight batches (Keras, dataset_utils and
# image_dataset_utils: `dataset.shuffle(buffer_size=batch_size * 8)`).
WINDOW_IN_BATCHES = 8


@dataclass(frozen=True)
class EpochOrder:
    """The examples of one epoch in the order in which they are trained on.

    Attributes:
        rows: int32, shape (n,), a permutation of the split's rows.
        bounds: int32, shape (batches + 1,), rising from 0 to n; batch i is ``rows[bounds[i]:bounds[i + 1]]``.
    """

    rows: NDArray[np.int32]
    bounds: NDArray[np.int32]

    def share(self, batches: slice, share: range, parts: int) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
        """The rows of some parts of some batches, where a batch is cut into ``parts``, as equal as can be.

        Args:
            share: the parts, counted from 0.

        Returns:
            rows, int32, shape (m,); and where in them the parts lie, int32, shape (batches, len(share) + 1): part i of
            a batch from its entry i to i + 1. Where there is an empty part, there is a row nevertheless.
        """
        starts, sizes = self.bounds[:-1][batches, None], np.diff(self.bounds)[batches, None]
        cuts = starts + sizes * np.arange(share.start, share.stop + 1) // parts
        pieces = [self.rows[cut[0] : max(cut[-1], cut[-2] + 1)] for cut in cuts]
        places = np.cumsum([0] + [len(piece) for piece in pieces[:-1]])
        return np.concatenate(pieces), (cuts - cuts[:, :1] + places[:, None]).astype(np.int32)


def epoch_order(
    shuffle: Literal["windowed", "full"], folder_sizes: Sequence[int], batch_size: int, seed: int, epoch: int
) -> EpochOrder:
    """The order of the examples in ``epoch`` (counted from 1).

    ``full`` draws a new permutation of all rows. ``windowed`` is what the notebook's ``tf.data`` pipeline does: each
    folder is put into an order that stays, is shuffled anew in every epoch through a window of eight batches, and
    is cut into batches, its last one smaller; then the batches of all folders are shuffled.

    Args:
        folder_sizes: number of images of each source folder, in the order of the split's rows.
    """
    generator = np.random.default_rng([seed, epoch])
    if shuffle == "full":
        rows = generator.permutation(sum(folder_sizes))
        return _joined(_cut(rows, batch_size))
    batches: list[NDArray[np.int64]] = []
    first = 0
    for folder, size in enumerate(folder_sizes):
        lasting = first + np.random.default_rng([seed, 0, folder]).permutation(size)
        batches += _cut(_shuffled_in_window(lasting, WINDOW_IN_BATCHES * batch_size, generator), batch_size)
        first += size
    return _joined([batches[i] for i in generator.permutation(len(batches))])


def _shuffled_in_window(rows: NDArray[np.int64], window: int, generator: np.random.Generator) -> NDArray[np.int64]:
    """``tf.data.Dataset.shuffle(window)``: take a row of the window at random, refill its place from ``rows``."""
    buffer, waiting = list(rows[:window]), iter(rows[window:])
    places = generator.integers(len(buffer), size=max(0, len(rows) - len(buffer)))
    taken = []
    for place, refill in zip(places, waiting, strict=True):
        taken.append(buffer[place])
        buffer[place] = refill
    return np.array(taken + [buffer[i] for i in generator.permutation(len(buffer))])


def _cut(rows: NDArray[np.int64], batch_size: int) -> list[NDArray[np.int64]]:
    return [rows[start : start + batch_size] for start in range(0, len(rows), batch_size)]


def _joined(batches: list[NDArray[np.int64]]) -> EpochOrder:
    bounds = np.cumsum([0] + [len(batch) for batch in batches])
    return EpochOrder(np.concatenate(batches).astype(np.int32), bounds.astype(np.int32))
