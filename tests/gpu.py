"""Check the GPUs of this machine: ``python -m tests.gpu`` trains small networks on them, and says what it found.

Each finding is a line that begins with ``ok`` or ``FAILED``. The exit code is 1 if one failed, or if there is no GPU.

The trainings run as a person runs them, and TensorFlow chooses the device. So without a GPU :func:`findings` checks the
CPU, and that is how the tests run it.
"""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal, NamedTuple

from tests.defaults import EVERY_PART_OF_A_RECIPE, ROOT, SMALL_RESIDUAL
from tests.teams import Worker, results, training_folder

KINDS: dict[str, dict[str, Any]] = {
    "default": {"train.learning_rate": 0.001},
    "residual": SMALL_RESIDUAL | {f"train.{key}": value for key, value in EVERY_PART_OF_A_RECIPE.items()},
}
# Of losses. Rounding in float32 is about 1e-7 a step. TensorFloat-32 rounds the factors of a product to 5e-4.
TOLERANCE = 1e-4
SECONDS = 600  # a GPU's first training may have to compile

PROBE = """
import json, sys
from stages.model.backend import tf
from tests.trainings import build
weights = build().trainable_variables
devices = tf.config.list_physical_devices(sys.argv[1])
print(json.dumps({
    "names": [tf.config.experimental.get_device_details(each).get("device_name", each.name) for each in devices],
    "dtypes": sorted({each.dtype for each in weights}),
    "places": sorted({each.value.device.partition("device:")[2] for each in weights}),
    "tensor_float_32": tf.config.experimental.tensor_float_32_execution_enabled(),
}))
"""


class Finding(NamedTuple):
    holds: bool
    text: str


def findings(
    folder: Path, device: Literal["CPU", "GPU"], kinds: Mapping[str, dict[str, Any]] = KINDS
) -> Iterator[Finding]:
    """What holds of trainings on this machine.

    Args:
        folder: an empty one, to train in.
        device: what TensorFlow trains on here.
        kinds: parameters of the trainings, by a name for each.
    """
    seen = probe(device)
    yield Finding(bool(seen["names"]), f"TensorFlow sees: {', '.join(seen['names'])}")
    yield Finding(seen["places"] == [f"{device}:0"], f"the weights are on {', '.join(seen['places'])}")
    yield Finding(seen["dtypes"] == ["float32"], f"the weights are {', '.join(seen['dtypes'])}")
    off = not seen["tensor_float_32"]
    yield Finding(off, f"TensorFloat-32 is {'off' if off else 'on'}")
    for name, changes in kinds.items():
        try:
            yield from _findings_of(folder / name, changes | {"train.epochs": 30, "train.parts": len(seen["names"])})
        except RuntimeError as error:
            yield Finding(False, f"{name}: {error}")


def probe(device: str) -> dict[str, Any]:
    """What TensorFlow says of devices of this kind, in a process of its own, because it keeps a GPU's memory."""
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", PROBE, device]
    done = subprocess.run(command, env=environment, text=True, stdout=subprocess.PIPE, check=True)
    seen: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return seen


def _findings_of(folder: Path, changes: dict[str, Any]) -> Iterator[Finding]:
    folder.mkdir()
    once, again, killed, on_cpu = (
        training_folder(folder / name, changes) for name in ("once", "again", "killed", "on_cpu")
    )
    _train(once)
    _train(again)
    equal = results(once) == results(again)
    yield Finding(equal, f"{folder.name}: two trainings ended in {'equal' if equal else 'unequal'} bytes")

    with Worker(killed, None, "-m", "stages.train") as training:
        training.wait_for("epoch  3:", SECONDS)
    went_on = any(line.startswith("train: goes on after epoch") for line in _train(killed))
    equal = results(once) == results(killed)
    text = f"a killed one {'went on' if went_on else 'began anew'} and ended in {'equal' if equal else 'unequal'} bytes"
    yield Finding(went_on and equal, f"{folder.name}: {text}")

    _train(on_cpu, CUDA_VISIBLE_DEVICES="")
    pairs = list(zip(_first_losses(once), _first_losses(on_cpu), strict=True))
    texts = [f"{here} here and {there} on the CPU" for here, there in pairs]
    near = all(abs(here - there) <= TOLERANCE * there for here, there in pairs)
    yield Finding(
        near, f"{folder.name}: the losses of the first epoch are {', '.join(texts)}; {TOLERANCE:.0e} is allowed"
    )


def _train(place: Path, **environment: str) -> list[str]:
    """What a training in this folder prints."""
    with Worker(place, None, "-m", "stages.train", **environment) as training:
        if training.code(SECONDS):
            raise RuntimeError(f"a training failed: {training.lines()[-1]}")
        return training.lines()


def _first_losses(place: Path) -> tuple[float, float]:
    """Training and validation loss of the first epoch."""
    with open(place / "metrics/history.csv", newline="") as file:
        first = next(csv.DictReader(file))
    return float(first["loss"]), float(first["val_loss"])


def main() -> None:
    if not probe("GPU")["names"]:
        sys.exit("gpu: TensorFlow sees none, so nothing was checked")
    failed = False
    with tempfile.TemporaryDirectory() as folder:
        for finding in findings(Path(folder), "GPU"):
            print("ok    " if finding.holds else "FAILED", finding.text, flush=True)
            failed |= not finding.holds
    sys.exit(failed)


if __name__ == "__main__":
    main()
