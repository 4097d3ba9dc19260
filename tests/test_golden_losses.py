"""The losses of the first steps of a training, to the last bit: a change that alters results without meaning to shows.

``tests/golden_losses.json`` holds them, of the default recipe and of a residual network with every part that a recipe
can have. They are the same on every x86-64 processor with AVX2, whatever the number of its cores. After a change that
is meant to alter them, ``python -m tests.test_golden_losses`` writes the file anew.
"""

from __future__ import annotations

import json
import platform
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import pytest

from stages.common.files import write_text
from tests.defaults import EVERY_PART_OF_A_RECIPE, SMALL_RESIDUAL

GOLDEN = Path(__file__).with_name("golden_losses.json")
SHORT = {"epochs": 3, "batch_size": 32}  # of 96 images: three steps an epoch
RECIPES: dict[str, dict[str, Any]] = {
    "default": {"model": None, "train": SHORT},
    "every part": {**SMALL_RESIDUAL, "train": EVERY_PART_OF_A_RECIPE | SHORT},
}

STEPS = """
import json, sys
from pathlib import Path
from pydantic import TypeAdapter
from stages.model import training
from stages.model.settings import Model, Train
from tests.drawn import make_split
from tests.defaults import parameter_values
folder, changes = Path(sys.argv[1]), json.loads(sys.argv[2])
train, validation = make_split(folder / "train", (50, 46), 1, 32), make_split(folder / "validation", (30,), 2, 32)
values = parameter_values()
model = TypeAdapter(Model).validate_json(json.dumps(changes["model"] or values["model"]))
recipe = Train.model_validate_json(json.dumps(values["train"] | changes["train"]))
course = training.train(model, recipe, 1, train, validation).course
print(json.dumps([[epoch.loss, epoch.val_loss] for epoch in course.epochs]))
"""


def losses(name: str) -> list[list[float]]:
    """The training and the validation loss of each epoch, in a process of its own."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-c", STEPS, folder, json.dumps(RECIPES[name])]
        done = subprocess.run(command, text=True, stdout=subprocess.PIPE, check=True)
    found: list[list[float]] = json.loads(done.stdout.splitlines()[-1])
    return found


@pytest.mark.slow
@pytest.mark.skipif(platform.machine() not in ("x86_64", "AMD64"), reason="Arm rounds sums in a way of its own")
@pytest.mark.parametrize("name", RECIPES)
def test_the_first_losses_are_those_of_the_golden_file(name: str) -> None:
    golden = json.loads(GOLDEN.read_text())
    assert losses(name) == golden[name], "results have changed; if that is meant: python -m tests.test_golden_losses"


if __name__ == "__main__":
    write_text(GOLDEN, json.dumps({name: losses(name) for name in RECIPES}, indent=2) + "\n")
