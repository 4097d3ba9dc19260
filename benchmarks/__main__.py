"""`make bench`: how long a person waits, measured on the machine at hand; writes results.md and training.png.

Contenders run in turn, a round after another, and are compared round by round, so that a busy machine slows both sides
of a ratio. Each ratio is given as the median over the rounds, with its range. Needs the outputs of `make repro`.
"""

from __future__ import annotations

import json
import platform
import shutil
import sys
import tempfile
from datetime import date
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

from pydantic import TypeAdapter

from benchmarks import commands, growth, training
from benchmarks.contenders import CONTENDERS
from benchmarks.measuring import processor, run
from stages.common import parameter_file
from stages.model.settings import Model

ROOT = Path(__file__).parent.parent
ROUNDS = 5


def best_network() -> Model:
    """That of the recipe ``best``, without its second view, which PyTorch's network has not."""
    section = parameter_file.parse((ROOT / "recipes/best.yaml").read_bytes(), "recipes/best.yaml")["model"]
    model: Model = TypeAdapter(Model).validate_json(json.dumps(section | {"mirrored_view": False}))
    return model


def main() -> None:
    if not shutil.which("dvc"):
        sys.exit("bench: dvc is not on the PATH; run `make bench`")
    packages = ["tensorflow", "keras", *(["torch"] if find_spec("torch") else []), "dvc", "pillow", "numpy"]
    versions = ", ".join(f"{name} {version(name)}" for name in packages)
    sections = [f"{date.today()}, {processor()}, Python {platform.python_version()}, {versions}."]
    # Before the trainings, which load TensorFlow: the system counts the memory of a process as that of those it starts.
    with tempfile.TemporaryDirectory() as folder:
        clone = Path(folder, "clone")
        run(["git", "clone", "--quiet", ROOT, clone], ROOT)
        run(["dvc", "config", "--local", "cache.dir", ROOT / ".dvc/cache"], clone)
        run(["dvc", "checkout", "--quiet"], clone)
        sections.append("\n".join(commands.measure(clone, ROUNDS)))
        sections.append("\n".join(growth.measure(clone)))
    sections.append("\n".join(training.measure(ROUNDS, "default network", list(CONTENDERS), {})))
    # Compiled PyTorch is left out: it compiles for the processor that it finds, whatever it is told to use.
    limited = [name for name in CONTENDERS if name not in ("pipeline_fastest", "pytorch_compiled")]
    sections.append("\n".join(training.measure(ROUNDS, "limited to AVX2", limited, training.AVX2)))
    rivals = ["pipeline", "pipeline_fastest", "pytorch_eager"]
    sections.append("\n".join(training.measure(ROUNDS, "residual network", rivals, {}, model=best_network())))
    rivals.remove("pipeline_fastest")
    sections.append(
        "\n".join(training.measure(ROUNDS, "residual network, AVX2", rivals, training.AVX2, model=best_network()))
    )
    text = "\n\n".join(["# What `make bench` measured", *sections]) + "\n"
    (ROOT / "benchmarks/results.md").write_text(text)
    print(text)


if __name__ == "__main__":
    main()
