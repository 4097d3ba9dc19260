"""The losses of the first steps of a training, to the last bit: a change that alters results without meaning to shows.

``tests/golden_losses.json`` holds them. They are the same on every x86-64 processor with AVX2, whatever the number of
its cores. After a change that is meant to alter them, ``python -m tests.test_golden_losses`` writes the file anew.
"""

from __future__ import annotations

import json
import platform
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from stages.common.files import write_text

GOLDEN = Path(__file__).with_name("golden_losses.json")
EPOCHS = 3
BATCH = 32  # of 96 images: three steps an epoch

STEPS = """
import json, sys
from pathlib import Path
from stages.model import training
from tests.drawn import make_split
from tests.defaults import SETTINGS
folder, epochs, batch = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
train, validation = make_split(folder / "train", (50, 46), 1, 32), make_split(folder / "validation", (30,), 2, 32)
recipe = SETTINGS.train.model_copy(update={"epochs": epochs, "batch_size": batch})
course = training.train(SETTINGS.model, recipe, 1, train, validation).course
print(json.dumps([[epoch.loss, epoch.val_loss] for epoch in course.epochs]))
"""


def losses() -> list[list[float]]:
    """The training and the validation loss of each epoch, in a process of its own."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-c", STEPS, folder, str(EPOCHS), str(BATCH)]
        done = subprocess.run(command, text=True, stdout=subprocess.PIPE, check=True)
    found: list[list[float]] = json.loads(done.stdout.splitlines()[-1])
    return found


@pytest.mark.slow
@pytest.mark.skipif(platform.machine() not in ("x86_64", "AMD64"), reason="Arm rounds sums in a way of its own")
def test_the_first_losses_are_those_of_the_golden_file() -> None:
    golden = json.loads(GOLDEN.read_text())
    assert losses() == golden, "results have changed; if that is meant: python -m tests.test_golden_losses"


if __name__ == "__main__":
    write_text(GOLDEN, json.dumps(losses(), indent=2) + "\n")
