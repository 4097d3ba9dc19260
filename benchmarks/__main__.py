"""`make bench`: how long a person waits, measured on the machine at hand; writes results.md and training.png.

Contenders run in turn, a round after another, and are compared round by round, so that a busy machine slows both sides
of a ratio. Each ratio is given as the median over the rounds, with its range. Needs the outputs of `make repro`.
"""

from __future__ import annotations

import os
import platform
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Sequence
from contextlib import ExitStack
from datetime import date
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from stages.common import parameters
from stages.common.parameters import Model

ROOT = Path(__file__).parent.parent
ROUNDS = 5
SAME_LOSS = 0.15  # nats; the loss of the first epoch differs by about 0.03 from seed to seed
PRODUCT_SIDE = 4096

DECODE = """
import io, sys, zipfile
from PIL import Image
for name in sys.argv[1:]:
    with zipfile.ZipFile(name) as file:
        for member in file.namelist():
            if not member.endswith("/"):
                Image.open(io.BytesIO(file.read(member))).load()
"""


class Contender:
    """A process that trains an epoch when it is told to; see ``benchmarks/worker.py``."""

    def __init__(self, name: str, folders: Path) -> None:
        command = [sys.executable, "-m", "benchmarks.worker", name, str(folders)]
        self.name = name
        self.seconds: list[float] = []
        self.losses: list[float] = []
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, cwd=ROOT
        )

    def epoch(self) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        started = time.perf_counter()
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        answer = self._process.stdout.readline()
        if not answer:
            sys.exit(f"bench: {self.name} ended early; run `python -m benchmarks.worker {self.name} FOLDER` to see why")
        self.seconds.append(time.perf_counter() - started)
        self.losses.append(float(answer))

    def end(self) -> None:
        self._process.kill()
        self._process.communicate()


def training() -> list[str]:
    """Rows of the table on training; draws the plot."""
    settings = parameters.load()
    names = ["notebook", "pipeline"]
    names += ["pytorch_eager", "pytorch_compiled"] if _installed("torch") else []
    products: list[float] = []
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        for name in (*settings.dataset.train, *settings.dataset.validation):
            zipfile.ZipFile(ROOT / settings.dataset.root / f"{name}.zip").extractall(Path(folder, name))
        contenders = [Contender(name, Path(folder)) for name in names]
        for contender in contenders:
            stack.callback(contender.end)
        for number in range(ROUNDS + 1):
            products.append(product_speed())
            for contender in contenders:
                contender.epoch()
            print(
                f"bench: round {number} of {ROUNDS}: "
                + ", ".join(f"{c.name} {c.seconds[-1]:.1f} s" for c in contenders),
                flush=True,
            )
    losses = [contender.losses[0] for contender in contenders]
    if max(losses) - min(losses) > SAME_LOSS:
        sys.exit(
            f"bench: the losses after an epoch differ, {dict(zip(names, losses, strict=True))}: not the same training"
        )

    learnt, validated = (np.load(ROOT / f"data/verified/{s}/labels.npy").size for s in ("train", "validation"))
    work = epoch_operations(settings.model, settings.dataset.image_size, learnt, validated)
    peak = statistics.median(products)
    pipeline = contenders[names.index("pipeline")].seconds[1:]
    rows = [
        "| training, an epoch with its validation | seconds | images a second | of the matrix product's speed | "
        "its time to the pipeline's | loss, epoch 1 |",
        "|---|---|---|---|---|---|",
    ]
    for contender in contenders:
        seconds = statistics.median(contender.seconds[1:])
        rows.append(
            f"| {contender.name.replace('_', ', ')} | {seconds:.2f} | {learnt / seconds:,.0f} | "
            f"{work / seconds / peak:.0%} | {ratio(contender.seconds[1:], pipeline)} | {contender.losses[0]:.3f} |"
        )
    rows += ["", f"Matrix product of {PRODUCT_SIDE:,} by {PRODUCT_SIDE:,} float32: {peak / 1e9:.0f} GFLOP/s."]
    draw(contenders, learnt)
    return rows


def commands() -> list[str]:
    """Rows of the table on whole commands, run in a clone of the project with the same data."""
    rows = ["| command | seconds | compared | peak memory, MiB |", "|---|---|---|---|"]
    with tempfile.TemporaryDirectory() as folder:
        clone = Path(folder, "clone")
        run(["git", "clone", "--quiet", str(ROOT), str(clone)], ROOT)
        run(["dvc", "config", "--local", "cache.dir", str(ROOT / ".dvc/cache")], clone)
        run(["dvc", "checkout", "--quiet"], clone)
        zips = [str(file) for file in sorted((clone / parameters.load().dataset.root).glob("*.zip"))]
        decoding, verifying = [], []
        for _ in range(ROUNDS):
            decoding.append(run([sys.executable, "-c", DECODE, *zips], clone))
            verifying.append(run([sys.executable, "-m", "stages.verify"], clone))
        seconds = [[each[0] for each in runs] for runs in (decoding, verifying)]
        rows.append(f"| decoding alone, Pillow, one core | {statistics.median(seconds[0]):.1f} | | |")
        compared = f"{ratio(seconds[1], seconds[0])} of decoding"
        peak = max(each[1] for each in verifying)
        rows.append(f"| verify, 60,000 images | {statistics.median(seconds[1]):.1f} | {compared} | {peak:.0f} |")
        run(["dvc", "checkout", "--quiet", "--force"], clone)
        idle = [run(["dvc", "repro"], clone)[0] for _ in range(ROUNDS)]
        rows.append(f"| dvc repro, nothing to do | {spread(idle)} | | |")
        changed = []
        parameters_file = clone / "params.yaml"
        for pairs in range(4, 4 + ROUNDS):
            text = re.sub(r"confused_pairs: \d+", f"confused_pairs: {pairs}", parameters_file.read_text())
            parameters_file.write_text(text)
            changed.append(run(["dvc", "repro"], clone)[0])
        rows.append(f"| dvc repro, a report parameter changed | {spread(changed)} | | |")
        for stage in ("validate", "report"):
            taken, memory = run([sys.executable, "-m", f"stages.{stage}"], clone)
            rows.append(f"| {stage} | {taken:.1f} | | {memory:.0f} |")
    return rows


def run(command: Sequence[str], folder: Path) -> tuple[float, float]:
    """Seconds and peak memory (MiB, of the largest process) of a command that must succeed."""
    started = time.perf_counter()
    with tempfile.TemporaryFile("w+") as errors:
        process = subprocess.Popen(command, cwd=folder, stdout=subprocess.DEVNULL, stderr=errors)
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        seconds = time.perf_counter() - started
        if process.returncode:
            errors.seek(0)
            sys.exit(f"bench: {' '.join(command)} failed\n{errors.read()}")
    unit = 2**20 if sys.platform == "darwin" else 2**10  # ru_maxrss is in bytes there, in KiB elsewhere
    return seconds, usage.ru_maxrss / unit


def ratio(seconds: Sequence[float], of: Sequence[float]) -> str:
    """Median and range of the ratios, round by round."""
    ratios = [one / other for one, other in zip(seconds, of, strict=True)]
    return f"{statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})"


def spread(seconds: Sequence[float]) -> str:
    return f"{statistics.median(seconds):.1f} ({min(seconds):.1f} to {max(seconds):.1f})"


def product_speed() -> float:
    """Floating-point operations a second in a product of two large float32 matrices, best of three."""
    one = np.random.default_rng(0).random((PRODUCT_SIDE, PRODUCT_SIDE), np.float32)
    best = np.inf
    for _ in range(3):
        started = time.perf_counter()
        one @ one
        best = min(best, time.perf_counter() - started)
    return float(2 * PRODUCT_SIDE**3 / best)


def epoch_operations(model: Model, size: int, learnt: int, validated: int) -> float:
    """Floating-point operations of an epoch of the default kind of network (one convolution a block, padding same).

    Two for each multiplication and addition; the backward pass takes twice the forward's, but for the gradient of the
    images, which nobody needs.
    """
    channels, forward, first = 3, 0.0, 0.0
    for filters in model.filters:
        forward += 2 * size**2 * filters * model.kernel_size**2 * channels
        first = first or forward
        channels, size = filters, size // model.pool_size
    width = channels * size**2
    for dense in (*model.dense, 10):
        forward += 2 * width * dense
        width = dense
    return learnt * (3 * forward - first) + validated * forward


def draw(contenders: Sequence[Contender], images: int) -> None:
    figure = Figure(figsize=(9, 1.2 + 0.6 * len(contenders)), layout="constrained")
    axes = figure.subplots()
    for row, contender in enumerate(contenders):
        speeds = [images / seconds for seconds in contender.seconds[1:]]
        axes.barh(row, statistics.median(speeds), color="#0072B2" if contender.name == "pipeline" else "#9DB7C9")
        axes.plot(speeds, [row] * len(speeds), "k.", markersize=5)
    axes.set_yticks(range(len(contenders)), [contender.name.replace("_", ", ") for contender in contenders])
    axes.invert_yaxis()
    axes.set_xlabel(f"Training images a second, validation included (bar: median, dots: {ROUNDS} epochs)")
    axes.set_title("Speed of training, the same network and data")
    figure.savefig(ROOT / "benchmarks/training.png", dpi=100)


def processor() -> str:
    information = Path("/proc/cpuinfo")
    names = re.findall(r"model name\s*: (.*)", information.read_text()) if information.exists() else []
    return f"{names[0] if names else platform.processor()}, {os.cpu_count()} cores"


def _installed(package: str) -> bool:
    try:
        return bool(version(package))
    except PackageNotFoundError:
        return False


def main() -> None:
    if not shutil.which("dvc"):
        sys.exit("bench: dvc is not on the PATH; run `make bench`")
    packages = [name for name in ("tensorflow", "keras", "torch", "dvc", "pillow") if _installed(name)]
    versions = ", ".join(f"{name} {version(name)}" for name in packages)
    facts = f"{date.today()}, {processor()}, Python {platform.python_version()}, {versions}."
    text = "\n".join(["# What `make bench` measured", "", facts, "", *training(), "", *commands(), ""])
    (ROOT / "benchmarks/results.md").write_text(text)
    print(text)


if __name__ == "__main__":
    main()
