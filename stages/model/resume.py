"""The resume point of a training: its whole state after the last finished epoch, on disk.

A training that was killed goes on from there and ends in the bytes that it would have ended in. The file lies outside
the stage's outs, which DVC deletes before a stage runs, and is removed when the training is done.
"""

from __future__ import annotations

import hashlib
import io
import json
import platform
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from stages.common.files import atomic_file
from stages.common.parameter_file import Section
from stages.model.backend import keras, tf
from stages.model.history import Epoch
from stages.model.state import Patience, TrainingState
from stages.model.workers import Workers
from stages.splits import packed
from stages.splits.packed import Split

CODE = ("__init__.py", "train.py", "common", "model", "splits")  # in stages/: what dvc.yaml names as train's own


class Fingerprint(NamedTuple):
    """Digests of all that the weights depend on."""

    parameters: str
    data: str
    code: str
    versions: str


@dataclass(frozen=True)
class ResumePoint:
    """A file that keeps a training's state, and the fingerprint of the inputs for which it holds.

    Without a path it keeps nothing. Of several workers the first one alone has a path; the others go on from its file.
    """

    path: Path | None
    fingerprint: Fingerprint

    def save(self, state: TrainingState, model: keras.Model, optimizer: keras.optimizers.Optimizer) -> None:
        """Replace the resume point by ``state`` and the values of all variables, whole or not at all."""
        if self.path is None:
            return
        values = {key: value for key, value in asdict(state).items() if key != "best_weights"}
        header = json.dumps({"fingerprint": self.fingerprint, "state": values}).encode()
        arrays = {f"best_{i}": weights for i, weights in enumerate(state.best_weights)}
        arrays |= {f"variable_{i}": variable.numpy() for i, variable in enumerate(_variables(model, optimizer))}
        with atomic_file(self.path) as part, part.open("wb") as file:
            np.savez(file, allow_pickle=False, header=np.frombuffer(header, np.uint8), **arrays)

    def load(self, model: keras.Model, optimizer: keras.optimizers.Optimizer, workers: Workers) -> TrainingState | None:
        """Bring ``model`` and ``optimizer`` to the resume point and return the state; None where there is none.

        A point that is damaged, or was written for other parameters, data, code or versions, is discarded.
        """
        content = workers.from_first(self.path.read_bytes() if self.path and self.path.exists() else None)
        if content is None:
            return None
        try:
            with np.load(io.BytesIO(content), allow_pickle=False) as loaded:
                arrays: dict[str, NDArray[Any]] = dict(loaded)
            header = json.loads(arrays["header"].tobytes())
            if tuple(header["fingerprint"]) != self.fingerprint:
                self._discard("written for other parameters, data, code or versions")
                return None
            state = _state(header["state"], arrays)
            variables = _variables(model, optimizer)
            values = [arrays[f"variable_{i}"] for i in range(len(variables))]  # all of them, before the first changes
            for variable, value in zip(variables, values, strict=True):
                variable.assign(value)
        except Exception as error:  # a damaged zip raises NotImplementedError, RuntimeError and TokenError too
            self._discard(f"damaged: {type(error).__name__}")
            return None
        if self.path:
            print(f"train: goes on after epoch {len(state.history)}, from {self.path}", flush=True)
        return state

    def _discard(self, reason: str) -> None:
        if self.path:
            print(f"train: discards {self.path} ({reason}) and starts from epoch 1", flush=True)
            self.path.unlink(missing_ok=True)


def fingerprint(seed: int, sections: list[Section], data: list[Split]) -> Fingerprint:
    """Digests of the parameters, the data, this program's code and the versions it runs on."""
    versions = [tf.__version__, keras.__version__, np.__version__, platform.python_version()]
    stages = Path(__file__).parents[1]
    code = hashlib.sha256()
    for entry in (stages / name for name in CODE):
        for file in sorted(entry.rglob("*.py")) if entry.is_dir() else [entry]:
            code.update(f"{file.relative_to(stages)} {file.stat().st_size} ".encode())
            code.update(file.read_bytes())
    pixels = hashlib.sha256()
    for split in data:
        pixels.update(f"{split.classes} {split.folder_sizes} {split.images.shape}".encode())
        for piece in packed.pieces(split.images, packed.at_once(split.images.shape[1])):
            pixels.update(piece.data)
        pixels.update(split.labels.data)
    return Fingerprint(
        parameters=hashlib.sha256(f"{seed} {sections}".encode()).hexdigest(),
        data=pixels.hexdigest(),
        code=code.hexdigest(),
        versions=" ".join(versions),
    )


def _variables(model: keras.Model, optimizer: keras.optimizers.Optimizer) -> list[keras.Variable]:
    # model.variables holds the state of dropout's random generators too, which model.weights leaves out.
    return [*model.variables, *optimizer.variables]


def _state(values: dict[str, Any], arrays: dict[str, NDArray[Any]]) -> TrainingState:
    return TrainingState(
        **values
        | {
            "drop": values["drop"] and Patience(**values["drop"]),
            "stop": values["stop"] and Patience(**values["stop"]),
            "history": [Epoch(**epoch) for epoch in values["history"]],
            "best_weights": [arrays[f"best_{i}"] for i in range(sum(key.startswith("best_") for key in arrays))],
        }
    )
