"""The training of a network: this pipeline, the notebook's loop, and PyTorch, an epoch each in turn."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Sequence
from contextlib import ExitStack
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks.contenders import CONTENDERS
from benchmarks.measuring import ratio, spread
from stages import parameters
from stages.common import arithmetic
from stages.common.drawing import Figure
from stages.parameters import Parameters

if TYPE_CHECKING:  # what loads TensorFlow is imported where it is used
    from stages.model.summary import Layer

ROOT = Path(__file__).parent.parent
SAME_LOSS = 0.15  # nats; the loss of the first epoch differs by about 0.03 from seed to seed
PRODUCT_SIDE = 4096
# What makes oneDNN and PyTorch take the processor for one that has AVX2 and nothing wider.
AVX2 = {"ONEDNN_MAX_CPU_ISA": "AVX2", "ATEN_CPU_CAPABILITY": "avx2"}

PRODUCT = """
import sys, timeit
import numpy as np
one = np.random.default_rng(0).random((int(sys.argv[1]), int(sys.argv[1])), np.float32)
print(min(timeit.repeat(lambda: one @ one, number=1, repeat=3)))
"""


class Contender:
    """A process that trains an epoch when it is told to; see ``benchmarks/worker.py``."""

    def __init__(self, name: str, folders: Path, settings: Parameters, variables: dict[str, str]) -> None:
        self.name = name
        self.seconds: list[float] = []
        self.losses: list[float] = []
        # Without the arithmetic of this process, which a contender of the pipeline's own sets up again.
        own = {key: value for key, value in os.environ.items() if key not in arithmetic.ENVIRONMENT}
        self._process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.worker", name, str(folders), settings.model_dump_json(by_alias=True)],
            env=own | variables,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            cwd=ROOT,
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


def measure(rounds: int, title: str, names: Sequence[str], variables: dict[str, str], **changes: Any) -> list[str]:
    """Rows of the table. The first epoch of each contender counts for its loss alone, since libraries warm up.

    Args:
        title: says what is special to this table.
        names: of the contenders; those in PyTorch are left out where it is not installed.
        variables: of the contenders' environment.
        changes: sections of the parameters that take the place of the user's.
    """
    settings = parameters.load().model_copy(update=changes)
    names = [name for name in names if find_spec("torch") or "pytorch" not in name]
    products: list[float] = []
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        for name in (*settings.dataset.splits["train"], *settings.dataset.splits["validation"]):
            zipfile.ZipFile(ROOT / settings.dataset.root / f"{name}.zip").extractall(Path(folder, name))
        contenders = [Contender(name, Path(folder), settings, variables) for name in names]
        for contender in contenders:
            stack.callback(contender.end)
        for number in range(rounds + 1):
            products.append(product_speed())
            for contender in contenders:
                contender.epoch()
            taken = ", ".join(f"{each.name} {each.seconds[-1]:.1f} s" for each in contenders)
            print(f"bench: training, round {number} of {rounds}: {taken}", flush=True)
    losses = {each.name: each.losses[0] for each in contenders}
    if max(losses.values()) - min(losses.values()) > SAME_LOSS:
        sys.exit(f"bench: the losses after an epoch differ, {losses}: not the same training")
    if len(names) == len(CONTENDERS):
        draw(contenders)
    from stages.model import network, summary

    layers = summary.layers(network.build(settings.model, settings.dataset.image_size, classes=10))
    return table(title, contenders, layers, statistics.median(products))


def table(title: str, contenders: Sequence[Contender], layers: Sequence[Layer], product: float) -> list[str]:
    work = epoch_operations(layers, count("train"), count("validation"))
    pipeline = contenders[0].seconds[1:]
    rows = [
        f"| Training, an epoch with its validation, {title} | seconds | images a second "
        "| of the matrix product's speed | its time to the pipeline's | loss, epoch 1 |",
        "|---|---|---|---|---|---|",
    ]
    for each in contenders:
        seconds = statistics.median(each.seconds[1:])
        rows.append(
            f"| {in_words(each.name)} | {spread(each.seconds[1:])} | {count('train') / seconds:,.0f} "
            f"| {work / seconds / product:.0%} | {ratio(each.seconds[1:], pipeline)} | {each.losses[0]:.3f} |"
        )
    return [*rows, "", f"Matrix product of {PRODUCT_SIDE:,} by {PRODUCT_SIDE:,} float32: {product / 1e9:.0f} GFLOP/s."]


def count(split: str) -> int:
    return int(np.load(ROOT / f"data/verified/{split}/labels.npy").size)


def in_words(name: str) -> str:
    return name.replace("_", ", ").replace("pytorch", "PyTorch")


def product_speed() -> float:
    """Floating-point operations a second in a product of two large float32 matrices, best of three.

    In a process of its own, in which OpenBLAS uses all instructions and cores.
    """
    own = {key: value for key, value in os.environ.items() if key not in arithmetic.ENVIRONMENT}
    command = [sys.executable, "-c", PRODUCT, str(PRODUCT_SIDE)]
    best = float(subprocess.run(command, env=own, stdout=subprocess.PIPE, text=True, check=True).stdout)
    return 2 * PRODUCT_SIDE**3 / best


def epoch_operations(layers: Sequence[Layer], learnt: int, validated: int) -> float:
    """Floating-point operations of an epoch over ``learnt`` images and its validation.

    Two for each multiply-add; the backward pass takes twice the forward's, but for the gradient of the images, which
    nobody needs.
    """
    counts = [2 * layer.multiply_adds for layer in layers if layer.multiply_adds]
    return learnt * (3 * sum(counts) - counts[0]) + validated * sum(counts)


def draw(contenders: Sequence[Contender]) -> None:
    figure = Figure(figsize=(9, 1.2 + 0.6 * len(contenders)), layout="constrained")
    axes = figure.subplots()
    for row, each in enumerate(contenders):
        speeds = [count("train") / seconds for seconds in each.seconds[1:]]
        axes.barh(row, statistics.median(speeds), color="#0072B2" if each.name == "pipeline" else "#9DB7C9")
        axes.plot(speeds, [row] * len(speeds), "k.", markersize=5)
    axes.set_yticks(range(len(contenders)), [in_words(each.name) for each in contenders])
    axes.invert_yaxis()
    axes.set_xlabel("Training images a second, validation included (bar: median, dots: epochs)")
    axes.set_title("Speed of training, the same network and data")
    figure.savefig(ROOT / "benchmarks/training.png", dpi=100)
