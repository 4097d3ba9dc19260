"""The resume point of a training: its whole state after the last finished epoch, on disk.

A training that was killed goes on from there and ends in the bytes that it would have ended in. The file lies outside
the stage's outs, which DVC deletes before a stage runs, and is removed when the training is done.
"""

from __future__ import annotations

import hashlib
import json
import sys
import zipfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stages.common.files import atomic_file
from stages.common.parameter_file import Section
from stages.model.backend import keras, tf
from stages.model.history import Epoch
from stages.model.state import Patience, TrainingState
from stages.splits import packed
from stages.splits.packed import Split


@dataclass(frozen=True)
class ResumePoint:
    """A file that keeps a training's state, and the fingerprint of the inputs for which it holds."""

    path: Path
    fingerprint: str

    def save(self, state: TrainingState, model: keras.Model, optimizer: keras.optimizers.Optimizer) -> None:
        """Replace the resume point by ``state`` and the values of all variables, whole or not at all."""
        values = {key: value for key, value in asdict(state).items() if key != "best_weights"}
        header = json.dumps({"fingerprint": self.fingerprint, "state": values}).encode()
        arrays = {f"best_{i}": weights for i, weights in enumerate(state.best_weights)}
        arrays |= {f"variable_{i}": variable.numpy() for i, variable in enumerate(_variables(model, optimizer))}
        with atomic_file(self.path) as part, part.open("wb") as file:
            np.savez(file, allow_pickle=False, header=np.frombuffer(header, np.uint8), **arrays)

    def load(self, model: keras.Model, optimizer: keras.optimizers.Optimizer) -> TrainingState | None:
        """Bring ``model`` and ``optimizer`` to the resume point and return the state; None where there is none.

        A point that is damaged, or was left by a training with other parameters, data, code or versions, is thrown
        away.
        """
        if not self.path.exists():
            return None
        try:
            with self.path.open("rb") as file, np.load(file, allow_pickle=False) as loaded:
                arrays: dict[str, NDArray[Any]] = dict(loaded)
            header = json.loads(arrays["header"].tobytes())
            if header["fingerprint"] != self.fingerprint:
                self._throw_away("it is of other parameters, data, code or versions")
                return None
            state = _state(header["state"], arrays)
            for i, variable in enumerate(_variables(model, optimizer)):
                variable.assign(arrays[f"variable_{i}"])
        except (OSError, ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile) as error:
            self._throw_away(f"it is damaged ({type(error).__name__})")
            return None
        print(f"train: goes on after epoch {len(state.history)}, from {self.path}", flush=True)
        return state

    def remove(self) -> None:
        self.path.unlink(missing_ok=True)

    def _throw_away(self, reason: str) -> None:
        print(f"train: throws away {self.path}, {reason}, and starts anew", flush=True)
        self.remove()


def fingerprint(seed: int, sections: list[Section], data: list[Split]) -> str:
    """A digest of all that the weights depend on: parameters, data, this program's code and the versions it runs on."""
    digest = hashlib.sha256(f"{seed} {sections} {tf.__version__} {keras.__version__} {sys.version}".encode())
    own = (module for name, module in sys.modules.items() if name.startswith(("stages.", "__main__")))
    for file in sorted(filter(None, {getattr(module, "__file__", None) for module in own})):
        digest.update(Path(file).read_bytes())
    for split in data:
        digest.update(f"{split.classes} {split.folder_sizes} {split.images.shape}".encode())
        for piece in packed.pieces(split.images, packed.at_once(split.images.shape[1])):
            digest.update(piece.data)
        digest.update(split.labels.data)
    return digest.hexdigest()


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
