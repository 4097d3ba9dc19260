"""Whole commands, as a person runs them, in a clone of the project that has the same data."""

from __future__ import annotations

import re
import statistics
import sys
from pathlib import Path
from typing import Any

from benchmarks.measuring import Run, ratio, run, spread
from stages import parameters
from stages.experiments import recipes

# What verify is measured against: the least that a program does which decodes every image.
DECODE = """
import io, sys, zipfile
from PIL import Image
for name in sys.argv[1:]:
    with zipfile.ZipFile(name) as file:
        for member in file.namelist():
            if not member.endswith("/"):
                Image.open(io.BytesIO(file.read(member))).load()
"""


def measure(clone: Path, rounds: int) -> list[str]:
    """Rows of the table."""
    return [
        "| Command | seconds | compared | peak memory, MiB |",
        "|---|---|---|---|",
        *verifying(clone, rounds),
        *repeating(clone, rounds),
        *from_verified_data(clone, rounds),
        *memory_of_stages(clone),
    ]


def verifying(clone: Path, rounds: int) -> list[str]:
    zips = sorted((clone / parameters.load().dataset.root).glob("*.zip"))
    decoded: list[float] = []
    verified: list[Run] = []
    for _ in range(rounds):
        decoded.append(run([sys.executable, "-c", DECODE, *zips], clone).seconds)
        verified.append(run([sys.executable, "-m", "stages.verify"], clone))
    print("bench: verify measured", flush=True)
    seconds = [each.seconds for each in verified]
    compared = f"{ratio(seconds, decoded)} of the decoding alone"
    return [
        f"| decoding the 60,000 images alone, Pillow, one core | {spread(decoded)} | | |",
        f"| `verify` | {spread(seconds)} | {compared} | {max(each.memory for each in verified):.0f} |",
    ]


def repeating(clone: Path, rounds: int) -> list[str]:
    run(["dvc", "checkout", "--quiet", "--force"], clone)
    idle = [run(["dvc", "repro"], clone).seconds for _ in range(rounds)]
    tested = [repro_with(clone, {"test": {"confused_pairs": pairs}}) for pairs in range(4, 4 + rounds)]
    both = [{"train": {"epochs": epochs}} for epochs in (1, parameters.load().train.epochs)]
    for changes in both:
        repro_with(clone, changes)
    set_back = [repro_with(clone, changes) for changes in (both * rounds)[:rounds]]
    run(["git", "checkout", "--quiet", "."], clone)
    run(["dvc", "checkout", "--quiet", "--force"], clone)
    print("bench: dvc repro measured", flush=True)
    return [
        f"| `dvc repro`, nothing to do | {spread(idle)} | | |",
        f"| `dvc repro`, a threshold of the test's findings changed | {spread(tested)} | | |",
        f"| `dvc repro`, a parameter of the training set back | {spread(set_back)} | | |",
    ]


def repro_with(clone: Path, changes: dict[str, Any]) -> float:
    """The seconds that ``dvc repro`` takes with other values of parameters, by section."""
    file = clone / "params.yaml"
    file.write_text(recipes.applied(changes, file.read_text(), "the benchmark"))
    return run(["dvc", "repro"], clone).seconds


def from_verified_data(clone: Path, rounds: int) -> list[str]:
    """The whole of the pipeline once, and all but ``verify`` in each round, against the epochs in it."""
    whole = run(["dvc", "repro", "--force", "--downstream", "verify"], clone)
    print(f"bench: the pipeline took {whole.seconds:.0f} s", flush=True)
    after, epochs = [], []
    for number in range(1, rounds + 1):
        done = run(["dvc", "repro", "--force", "--downstream", "train"], clone)
        after.append(done.seconds)
        epochs.append(seconds_of_epochs(done))
        print(f"bench: training to report, round {number} of {rounds}: {done.seconds:.0f} s", flush=True)
    return [
        f"| the pipeline from `data/cifar10` on | {whole.seconds:.0f} | | {whole.memory:.0f} |",
        f"| from verified data to the report | {spread(after, 0)} | {ratio(after, epochs)} of the epochs alone | |",
    ]


def seconds_of_epochs(done: Run) -> float:
    """From the line that ``train`` prints before its first epoch to the line of its last."""
    times = [second for second, line in done.lines if re.match(r"train: ([\d,]+ parameters|epoch)", line)]
    return times[-1] - times[0]


def memory_of_stages(clone: Path) -> list[str]:
    rows = []
    for stage in ("validate", "test", "report"):
        runs = [run([sys.executable, "-m", f"stages.{stage}"], clone) for _ in range(3)]
        seconds = statistics.median(each.seconds for each in runs)
        rows.append(f"| `{stage}` | {seconds:.1f} | | {max(each.memory for each in runs):.0f} |")
    return rows
