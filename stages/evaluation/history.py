"""What happened in a training, epoch by epoch, as ``train`` wrote it down."""

from __future__ import annotations

import csv
import json
from dataclasses import dataclass
from pathlib import Path

from stages.common.console import UserError


@dataclass(frozen=True)
class Epoch:
    """One epoch of training.

    Attributes:
        epoch: from 1.
        loss: mean cross-entropy over the training images while they were learnt from, in nats.
        accuracy: share of the training images that were classified correctly then, 0 to 1.
        val_loss: cross-entropy over the validation images after the epoch.
        val_accuracy: share of the validation images classified correctly after the epoch.
        learning_rate: the rate used during the epoch.
    """

    epoch: int
    loss: float
    accuracy: float
    val_loss: float
    val_accuracy: float
    learning_rate: float


@dataclass(frozen=True)
class Training:
    """The course of a training.

    Attributes:
        epochs: at least one, in order.
        best_epoch: the epoch whose weights were kept.
        learning_rate_drops: the epochs after which the rate dropped.
        stopped_early: early stopping ended it, not the limit of epochs.
        parameters: how many numbers of the network it changes.
    """

    epochs: tuple[Epoch, ...]
    best_epoch: int
    learning_rate_drops: tuple[int, ...]
    stopped_early: bool
    parameters: int


def load(table: Path, summary: Path) -> Training:
    """Read the history by epoch (CSV) and the summary of the training (JSON).

    Raises:
        UserError: a file is missing or is not what ``train`` writes.
    """
    try:
        with open(table, newline="", encoding="utf-8") as file:
            epochs = tuple(
                Epoch(int(row.pop("epoch")), **{name: float(value) for name, value in row.items()})
                for row in csv.DictReader(file)
            )
        values = json.loads(summary.read_text(encoding="utf-8"))
        if not epochs:
            raise ValueError(f"{table} has no epoch")
        return Training(
            epochs=epochs,
            best_epoch=values["best_epoch"],
            learning_rate_drops=tuple(values["learning_rate_drops"]),
            stopped_early=values["stopped_early"],
            parameters=values["parameters"],
        )
    except (FileNotFoundError, ValueError, KeyError, TypeError) as error:
        raise UserError(
            f"{table} and {summary} hold no history of a training ({error}); run `dvc repro train`"
        ) from error
