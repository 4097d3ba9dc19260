"""What happened in a training, epoch by epoch: written by ``train``, read by ``validate`` and ``report``."""

from __future__ import annotations

import csv
import json
from collections.abc import Sequence
from dataclasses import astuple, dataclass, fields
from pathlib import Path

from stages.common.files import write_csv, write_json, written_by


@dataclass(frozen=True)
class Epoch:
    """One epoch of training. Losses are mean cross-entropies in nats, accuracies are shares from 0 to 1.

    Attributes:
        epoch: its number, from 1.
        loss: over the training images as they were learnt from, augmented and while the weights changed; neither
            label smoothing nor class weights enter it.
        accuracy: of the same.
        val_loss: over the validation images after the epoch, by the weights that would be saved.
        val_accuracy: of the same.
        learning_rate: of the batch in the middle of the epoch.
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
        learning_rate_drops: the epochs after which the rate dropped; None where the schedule knows no drops.
        stopped_early: early stopping ended it, not the limit of epochs.
        parameters: how many numbers the network holds, those of batch normalisation that are not trained among them.
    """

    epochs: tuple[Epoch, ...]
    best_epoch: int
    learning_rate_drops: tuple[int, ...] | None
    stopped_early: bool
    parameters: int


def write_epochs(table: Path, epochs: Sequence[Epoch]) -> None:
    """Write the history by epoch (CSV)."""
    write_csv(table, [field.name for field in fields(Epoch)], map(astuple, epochs))


def write(training: Training, table: Path, summary: Path) -> None:
    """Write the history by epoch (CSV) and the summary of the training (JSON)."""
    write_epochs(table, training.epochs)
    write_json(
        summary,
        {
            "epochs": len(training.epochs),
            "best_epoch": training.best_epoch,
            "learning_rate_drops": training.learning_rate_drops,
            "stopped_early": training.stopped_early,
            "parameters": training.parameters,
        },
    )


def load(table: Path, summary: Path) -> Training:
    """Read what :func:`write` wrote.

    Raises:
        UserError: a file is missing or is not what ``train`` writes.
    """
    with written_by("train", table), open(table, newline="", encoding="utf-8") as file:
        epochs = tuple(
            Epoch(int(row.pop("epoch")), **{name: float(value) for name, value in row.items()})
            for row in csv.DictReader(file)
        )
        if not epochs:
            raise ValueError("it has no epoch")
    with written_by("train", summary):
        values = json.loads(summary.read_text(encoding="utf-8"))
        if values["epochs"] != len(epochs):
            raise ValueError(f"it is of {values['epochs']} epochs, {table} of {len(epochs)}")
        drops = values["learning_rate_drops"]
        return Training(
            epochs=epochs,
            best_epoch=values["best_epoch"],
            learning_rate_drops=None if drops is None else tuple(drops),
            stopped_early=values["stopped_early"],
            parameters=values["parameters"],
        )
