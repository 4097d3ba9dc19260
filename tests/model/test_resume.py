"""A training that was killed goes on from its last finished epoch and ends as it would have ended."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from stages.common.console import progress
from stages.model.backend import keras
from stages.model.fitting import fit
from stages.model.resume import ResumePoint, fingerprint
from stages.model.state import TrainingState
from stages.splits.packed import Split
from tests.trainings import build, digest, recipe

pytestmark = pytest.mark.slow


class Killed(BaseException):
    """Stands for the end of the process right after an epoch's resume point is on disk."""


class KilledAfter(ResumePoint):
    epochs: int

    def save(self, state: TrainingState, model: keras.Model, optimizer: keras.optimizers.Optimizer) -> None:
        super().save(state, model, optimizer)
        if len(state.history) == self.epochs:
            raise Killed


def run(point: ResumePoint, train: Split, validation: Split, **changes: Any) -> tuple[str, TrainingState]:
    model = build(dropout=0.3, batch_normalization=True)
    # Every rule has to act, so that a counter that was lost would show.
    by = recipe(
        epochs=9,
        learning_rate=0.05,
        learning_rate_drop={"factor": 0.5, "patience": 2, "min_delta": 0.05},
        early_stopping={"patience": 4, "min_delta": 0.0},
        **changes,
    )
    with progress("test", None, "images") as shown:
        state = fit(model, train, validation, by, 1, shown, point)
    return digest(model), state


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
@pytest.mark.parametrize("epochs", [1, 4])
def test_a_killed_training_ends_in_equal_weights(
    tmp_path: Path, training_split: Split, validation_split: Split, optimizer: str, epochs: int
) -> None:
    splits = training_split, validation_split
    whole, state = run(ResumePoint(tmp_path / "whole.npz", "inputs"), *splits, optimizer=optimizer)
    killed = KilledAfter(tmp_path / "point.npz", "inputs")
    object.__setattr__(killed, "epochs", epochs)
    with pytest.raises(Killed):
        run(killed, *splits, optimizer=optimizer)
    resumed, resumed_state = run(ResumePoint(tmp_path / "point.npz", "inputs"), *splits, optimizer=optimizer)
    assert resumed == whole
    assert resumed_state.history == state.history
    assert (resumed_state.drops, resumed_state.best_epoch) == (state.drops, state.best_epoch)


def test_a_point_of_other_inputs_is_thrown_away_and_said_so(
    tmp_path: Path, training_split: Split, validation_split: Split, capsys: pytest.CaptureFixture[str]
) -> None:
    point = tmp_path / "point.npz"
    run(ResumePoint(point, "inputs"), training_split, validation_split)
    capsys.readouterr()
    _, state = run(ResumePoint(point, "other inputs"), training_split, validation_split)
    assert "throws away" in capsys.readouterr().out
    assert state.history[0].epoch == 1


@pytest.mark.parametrize("kept", [0, 10, 1000, -10])
def test_a_damaged_point_is_thrown_away_and_said_so(
    tmp_path: Path, training_split: Split, validation_split: Split, capsys: pytest.CaptureFixture[str], kept: int
) -> None:
    path = tmp_path / "point.npz"
    point = ResumePoint(path, "inputs")
    whole, _ = run(point, training_split, validation_split)
    path.write_bytes(path.read_bytes()[:kept])
    capsys.readouterr()
    resumed, _ = run(point, training_split, validation_split)
    assert "it is damaged" in capsys.readouterr().out
    assert resumed == whole


def test_the_fingerprint_tells_parameters_and_data_apart(training_split: Split, validation_split: Split) -> None:
    def of(seed: int = 1, train: Split = training_split, **changes: Any) -> str:
        return fingerprint(seed, [recipe(**changes)], [train, validation_split])

    image_changed = np.array(training_split.images)
    image_changed[0, 0, 0, 0] ^= 1
    other = Split(
        image_changed, *(getattr(training_split, name) for name in ("labels", "classes", "folder_sizes", "names"))
    )
    assert of() == of()
    assert len({of(), of(seed=2), of(momentum=0.8), of(train=other), of(parts=3)}) == 5
