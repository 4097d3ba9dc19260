"""The losses of the first steps of a training, to the last bit: a change that alters results without meaning to shows.

``tests/golden_losses.json`` holds them with what they hold for: the versions of TensorFlow and Keras, and what the
processor is like, because its widest instructions and its cache decide in which order sums are rounded. The steps run
on one thread, so the number of cores plays no part. Elsewhere the test is skipped and says which of these differs.

After a change that is meant to alter the results, ``python -m tests.test_golden_losses`` writes the file anew.
"""

from __future__ import annotations

import json
import platform
import subprocess
import sys
import tempfile
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest

from stages.common.files import write_text

GOLDEN = Path(__file__).with_name("golden_losses.json")
EPOCHS = 3
BATCH = 32  # of 96 images: three steps an epoch
# Of those that Eigen and oneDNN choose their kernels by; the others change no sum.
FEATURES = ("avx", "avx2", "fma", "avx_vnni", "avx512f", "avx512_vnni", "avx512_bf16", "amx_tile", "asimd", "sve")

STEPS = """
import json, sys
from pathlib import Path
from stages.model.backend import keras, tf
tf.config.threading.set_intra_op_parallelism_threads(1)
tf.config.threading.set_inter_op_parallelism_threads(1)
from stages.common import parameters
from stages.common.console import progress
from stages.model import network
from stages.model.fitting import fit
from tests.conftest import make_split
folder, epochs, batch = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
train, validation = make_split(folder / "train", (50, 46), 1, 32), make_split(folder / "validation", (30,), 2, 32)
settings = parameters.load()
recipe = settings.train.model_copy(update={"epochs": epochs, "batch_size": batch})
keras.utils.set_random_seed(1)
model = network.build(settings.model, 32, len(train.classes))
with progress("golden", None, "images") as shown:
    history = fit(model, train, validation, recipe, 1, shown).history
print(json.dumps([[epoch.loss, epoch.val_loss] for epoch in history]))
"""


def conditions() -> dict[str, Any]:
    """What the losses depend on, beside the code; the versions are read without loading TensorFlow."""
    return {
        "tensorflow": version("tensorflow"),
        "keras": version("keras"),
        "system": platform.system(),
        "machine": platform.machine(),
        "features": [feature for feature in FEATURES if feature in processor("flags", "Features").split()],
        "cache": processor("cache size"),
    }


def processor(*keys: str) -> str:
    """What Linux says of the first core under one of these keys; nothing where it says nothing."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return ""
    return next((line.partition(":")[2].strip() for line in lines if line.partition(":")[0].strip() in keys), "")


def losses() -> list[list[float]]:
    """The training and the validation loss of each epoch, in a process that TensorFlow has one thread in."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-c", STEPS, folder, str(EPOCHS), str(BATCH)]
        done = subprocess.run(command, text=True, stdout=subprocess.PIPE, check=True)
    found: list[list[float]] = json.loads(done.stdout.splitlines()[-1])
    return found


def test_the_first_losses_are_those_of_the_golden_file() -> None:
    golden = json.loads(GOLDEN.read_text())
    here = conditions()
    other = [f"{key}: {here[key]}, not {value}" for key, value in golden["conditions"].items() if here[key] != value]
    if other:
        pytest.skip("the golden losses hold elsewhere: " + "; ".join(other))
    assert losses() == golden["losses"], "results have changed; if that is meant: python -m tests.test_golden_losses"


if __name__ == "__main__":
    write_text(GOLDEN, json.dumps({"conditions": conditions(), "losses": losses()}, indent=2) + "\n")
