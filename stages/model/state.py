"""The state of a training between two epochs, and what the end of an epoch does to it.

The rules are those of Keras's ``ReduceLROnPlateau``, ``EarlyStopping`` and ``ModelCheckpoint``, which the notebook
uses; here their counters are plain values, so that a training can be put aside and go on exactly.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from stages.common.rounding import number, percent
from stages.model import schedules
from stages.model.history import Epoch, Training
from stages.model.settings import Train


@dataclass
class Patience:
    """Counts the epochs in a row without an improvement by more than ``min_delta``; lower values are better."""

    patience: int
    min_delta: float
    best: float = math.inf
    waited: int = 0

    def ended(self, value: float) -> bool:
        """Add an epoch's value; whether ``patience`` epochs have now passed without an improvement.

        If so, counting begins again.
        """
        if value < self.best - self.min_delta:
            self.best, self.waited = value, 0
            return False
        self.waited = (self.waited + 1) % self.patience
        return self.waited == 0


@dataclass
class TrainingState:
    """Where a training stands after its last finished epoch, beside the weights and the optimizer's slots.

    Attributes:
        learning_rate: of the next epoch, before the schedule's share of it.
        drop: waits for the plateau that drops the learning rate; None where the schedule has none.
        stop: waits for the plateau that ends the training; None without early stopping.
        history: the finished epochs, in order.
        drops: numbers of the epochs after which the learning rate dropped.
        best_epoch: number of the epoch with the best monitored value, 0 before the first.
        best: that value, lower being better (an accuracy counts negative).
        best_weights: the model's weights after that epoch.
        stopped_early: whether the training has ended on a plateau.
    """

    learning_rate: float
    drop: Patience | None
    stop: Patience | None
    history: list[Epoch] = field(default_factory=list)
    drops: list[int] = field(default_factory=list)
    best_epoch: int = 0
    best: float = math.inf
    best_weights: list[NDArray[np.float32]] = field(default_factory=list)
    stopped_early: bool = False

    @classmethod
    def start(cls, recipe: Train) -> TrainingState:
        schedule, stop = recipe.schedule, recipe.early_stopping
        return cls(
            learning_rate=recipe.learning_rate,
            drop=Patience(schedule.patience, schedule.min_delta) if isinstance(schedule, schedules.Plateau) else None,
            stop=Patience(stop.patience, stop.min_delta) if stop else None,
        )

    def update(self, epoch: Epoch, recipe: Train, weights: list[NDArray[np.float32]]) -> None:
        """Add a finished epoch: keep ``weights`` if it is the best, drop the learning rate, or stop."""
        self.history.append(epoch)
        value = epoch.val_loss if recipe.monitor == "val_loss" else -epoch.val_accuracy
        if value < self.best or not self.best_weights:
            self.best_epoch, self.best, self.best_weights = epoch.epoch, value, weights
        if self.drop and isinstance(recipe.schedule, schedules.Plateau) and self.drop.ended(value):
            self.drops.append(epoch.epoch)
            self.learning_rate *= recipe.schedule.factor
        self.stopped_early = bool(self.stop and self.stop.ended(value))

    def course(self, parameters: int) -> Training:
        """The training as it is written down, of a network that has ``parameters`` to train."""
        drops = tuple(self.drops) if self.drop else None
        return Training(tuple(self.history), self.best_epoch, drops, self.stopped_early, parameters)

    def last_epoch_in_words(self) -> str:
        """The last finished epoch as a line for a person."""
        epoch = self.history[-1]
        line = (
            f"epoch {epoch.epoch:2}: loss {number(epoch.loss, 4)}, accuracy {percent(epoch.accuracy)}; "
            f"validation loss {number(epoch.val_loss, 4)}, accuracy {percent(epoch.val_accuracy)}"
        )
        if self.best_epoch == epoch.epoch:
            line += "; best so far"
        if epoch.epoch in self.drops:
            line += f"; learning rate drops to {self.learning_rate:.2g}"
        if self.stopped_early:
            line += f"; stopped early, best epoch {self.best_epoch}"
        return line
