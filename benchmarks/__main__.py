"""`make bench`: how long a person waits, measured on the machine at hand; writes results.md and training.png.

Contenders run in turn, a round after another, and are compared round by round, so that a busy machine slows both sides
of a ratio. Each ratio is given as the median over the rounds, with its range. Needs the outputs of `make repro`.
"""

from __future__ import annotations

import platform
import shutil
import sys
import tempfile
from datetime import date
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

from benchmarks import commands, growth, training
from benchmarks.measuring import processor, run

ROOT = Path(__file__).parent.parent
ROUNDS = 5


def main() -> None:
    if not shutil.which("dvc"):
        sys.exit("bench: dvc is not on the PATH; run `make bench`")
    packages = ["tensorflow", "keras", *(["torch"] if find_spec("torch") else []), "dvc", "pillow", "numpy"]
    versions = ", ".join(f"{name} {version(name)}" for name in packages)
    sections = [f"{date.today()}, {processor()}, Python {platform.python_version()}, {versions}."]
    sections.append("\n".join(training.measure(ROUNDS)))
    sections.append("\n".join(training.measure(ROUNDS, limited=True)))
    with tempfile.TemporaryDirectory() as folder:
        clone = Path(folder, "clone")
        run(["git", "clone", "--quiet", ROOT, clone], ROOT)
        run(["dvc", "config", "--local", "cache.dir", ROOT / ".dvc/cache"], clone)
        run(["dvc", "checkout", "--quiet"], clone)
        sections.append("\n".join(commands.measure(clone, ROUNDS)))
        sections.append("\n".join(growth.measure(clone)))
    text = "\n\n".join(["# What `make bench` measured", *sections]) + "\n"
    (ROOT / "benchmarks/results.md").write_text(text)
    print(text)


if __name__ == "__main__":
    main()
