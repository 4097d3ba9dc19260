"""Schedules of the learning rate: what share of ``train.learning_rate`` a batch is trained with.

A new one is a class with a ``kind`` of its own, its parameters and ``share``, and a place in :data:`Schedule`.
"""

from __future__ import annotations

import math
from typing import Annotated, Literal

from pydantic import Field

from stages.common.parameter_file import Fraction, PositiveInt, Section, Share


class Plateau(Section):
    """The rate drops, multiplied by ``factor``, after ``patience`` epochs without an improvement.

    The rules are those of Keras's ``ReduceLROnPlateau``; ``stages/model/state.py`` counts the epochs.
    """

    kind: Literal["plateau"]
    factor: Share
    patience: PositiveInt
    min_delta: Annotated[float, Field(ge=0)]

    def share(self, done: float) -> float:
        """The whole rate at any time: drops come between epochs, from the state of the training."""
        return 1.0


class Cosine(Section):
    """The rate rises linearly during the share ``warm_up`` of all batches, then falls to 0 along half a cosine.

    Loshchilov and Hutter, "SGDR" (2017), without restarts; the warm-up is that of Goyal et al. (2017).
    """

    kind: Literal["cosine"]
    warm_up: Fraction

    def share(self, done: float) -> float:
        """The share of the rate when the share ``done`` of all batches, from 0 to 1, is done."""
        if done < self.warm_up:
            return done / self.warm_up
        return (1 + math.cos(math.pi * (done - self.warm_up) / (1 - self.warm_up))) / 2


class OneCycle(Section):
    """The rate rises linearly from ``first`` to the whole rate, and then falls linearly to ``last``.

    Smith and Topin, "Super-convergence" (2018). The rise takes the share ``rise`` of all batches.
    """

    kind: Literal["one_cycle"]
    rise: Share
    first: Fraction
    last: Fraction

    def share(self, done: float) -> float:
        """The share of the rate when the share ``done`` of all batches, from 0 to 1, is done."""
        if done < self.rise:
            return self.first + (1 - self.first) * done / self.rise
        return 1 - (1 - self.last) * (done - self.rise) / (1 - self.rise)


Schedule = Annotated[Plateau | Cosine | OneCycle, Field(discriminator="kind")]
