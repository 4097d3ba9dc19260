"""Run a small pipeline as other processors would, and compare every byte that it ends in.

``python -m tests.processors`` runs verify, train, validate, test and report on drawn images: natively with one thread,
with two and with eight, and on processors that QEMU emulates. It does so for every recipe, and for what no recipe has.
The files of each run must be those of the native run with one thread. ``python -m tests.processors EPYC-v1`` emulates
that one alone; names are those of ``qemu-x86_64 -cpu help``.

QEMU emulates AVX2 but not AVX-512, so ``Icelake-Server-v1`` is that processor's cpuid with AVX2. All its models have a
first-level data cache of 32 KB, where Ice Lake, Zen 5 and later have 48 KB; ``Haswell-v4+48KB`` runs on a copy of QEMU
that tells programs of such a cache.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import joblib
from PIL import Image

from stages.common import parameter_file
from stages.experiments import recipes
from tests.defaults import EVERY_PART_OF_A_RECIPE, PARAMS_FILE, ROOT, SMALL_RESIDUAL
from tests.drawn import draw_folder
from tests.projects import Project

QEMU = "qemu-x86_64"
LARGE_CACHE = "+48KB"
NATIVE_THREADS = (1, 2, 8)
EMULATED = (
    "Haswell-v4",
    "Haswell-v4" + LARGE_CACHE,
    "Skylake-Client-v4",
    "Icelake-Server-v1",
    "EPYC-v1",
    "EPYC-Milan-v1",
)
RECIPES: dict[str, dict[str, Any]] = {
    file.stem: parameter_file.parse(file.read_bytes(), str(file)) for file in sorted((ROOT / "recipes").glob("*.yaml"))
}
# Every recipe, and what none of them has. The values are changes of params.yaml, with its sections and keys.
KINDS = RECIPES | {
    "adam": {"train": {"optimizer": "adam", "learning_rate": 0.001}},
    "all parts": SMALL_RESIDUAL | {"train": EVERY_PART_OF_A_RECIPE},
}
SMALL = {
    "dataset.root": "data/small",
    "dataset.train": ["first", "second"],
    "dataset.validation": ["held out"],
    "dataset.test": ["test"],
    "dataset.classes": 3,
    "dataset.images_per_folder": None,
    "train.epochs": 2,
    "train.batch_size": 16,
}
# One process for all, since an emulated one takes half a minute to load TensorFlow.
STAGES = """
import os, sys
import stages
import joblib
joblib.cpu_count = lambda: int(sys.argv[1])
from stages.verify import verify
from stages.train import train
from stages.validate import validate
from stages.test import test
from stages.report import report
for kind in sys.argv[2:]:
    os.chdir(kind)
    for stage in (verify, train, validate, test, report):
        stage()
"""


class Processor(NamedTuple):
    """What runs Python: nothing but this machine, or a program that emulates another."""

    name: str
    threads: int
    emulator: tuple[str, ...] = ()


def run(processor: Processor, folder: Path) -> dict[str, str]:
    """The md5 of each file that the stages write on ``processor``, for all kinds of network."""
    projects = [_project(folder / processor.name / kind, KINDS[kind]) for kind in KINDS]
    done = subprocess.run(
        [*processor.emulator, str(Path(sys.executable).resolve()), "-c", STAGES, str(processor.threads), *projects],
        env=os.environ | {"PYTHONPATH": os.pathsep.join([str(ROOT), sysconfig.get_path("purelib")])},
        text=True,
        capture_output=True,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(f"{processor.name} ended with {done.returncode}:\n{done.stdout}{done.stderr}")
    files = (path for project in projects for path in sorted(project.rglob("*")) if path.is_file())
    return {str(file.relative_to(folder / processor.name)): _md5(file) for file in files}


def _project(folder: Path, changes: dict[str, Any]) -> Path:
    folder.mkdir(parents=True)
    (folder / "params.yaml").write_text(recipes.applied(changes, PARAMS_FILE.read_text("utf-8"), str(folder)), "utf-8")
    Project(folder).set(SMALL)
    for seed, (name, per_class) in enumerate({"first": 10, "second": 7, "held out": 8, "test": 8}.items()):
        draw_folder(folder / "data/small" / name, per_class, seed, size=32)
    for number, image in enumerate(sorted((folder / "data/small/first").rglob("*.png"))[::5]):
        # Photographs are compressed and are of other sizes, so decoding and resizing take part.
        with Image.open(image) as opened:
            opened.resize((90 + number, 70)).save(image.with_suffix(".jpg"), quality=90)
        image.unlink()
    return folder


def _md5(file: Path) -> str:
    return hashlib.md5(file.read_bytes()).hexdigest()


def emulated(name: str, folder: Path) -> Processor:
    """The processor that QEMU calls ``name``, with one thread for each core of this machine."""
    model = name.removesuffix(LARGE_CACHE)
    qemu = shutil.which(QEMU)
    if qemu is None:
        sys.exit(f"processors: no {QEMU} on the PATH; on Debian: apt-get install qemu-user")
    if name != model:
        qemu = str(_with_large_cache(Path(qemu), folder / "qemu-48KB"))
    return Processor(name, joblib.cpu_count(), (qemu, "-cpu", model))


def _with_large_cache(qemu: Path, copy: Path) -> Path:
    """A copy of QEMU whose first-level data caches have 48 KB in 12 ways, instead of 32 KB in 8."""

    def described(size: int, ways: int) -> bytes:
        # QEMU's CPUCacheInfo: type, level, size, bytes a line, ways, partitions, sets.
        numbers = ((0, 4), (1, 4), (size, 4), (64, 2), (ways, 1), (1, 1), (64, 4))
        return b"".join(value.to_bytes(width, "little") for value, width in numbers)

    content = qemu.read_bytes()
    small = described(32 * 1024, 8)
    if small not in content:
        sys.exit(f"processors: this {QEMU} does not describe its caches as QEMU 7 does, so it can't be given 48 KB")
    copy.write_bytes(content.replace(small, described(48 * 1024, 12)))
    copy.chmod(0o755)
    return copy


def main() -> int:
    parser = argparse.ArgumentParser(description="Run a small pipeline as other processors would; compare all bytes.")
    parser.add_argument("names", nargs="*", default=EMULATED, help="of QEMU's processors")
    names = parser.parse_args().names
    with tempfile.TemporaryDirectory() as temporary, ThreadPoolExecutor(joblib.cpu_count()) as pool:
        folder = Path(temporary)
        processors = [Processor(f"native, threads: {threads}", threads) for threads in NATIVE_THREADS]
        processors += [emulated(name, folder) for name in names]
        started = time.monotonic()
        runs = pool.map(lambda processor: run(processor, folder), processors)
        expected: dict[str, str] = {}
        differing = 0
        for processor, files in zip(processors, runs, strict=True):
            expected = expected or files
            other = sorted(name for name in expected.keys() | files.keys() if expected.get(name) != files.get(name))
            differing += bool(other)
            minutes = (time.monotonic() - started) / 60
            print(f"{processor.name}: {len(files)} files, differing: {len(other)} ({minutes:.1f} min)", flush=True)
            print(*(f"  {name}" for name in other), sep="\n", end="\n" if other else "")
    print(f"processors: {len(processors)}, kinds of network: {len(KINDS)}, processors that differ: {differing}")
    return 1 if differing else 0


if __name__ == "__main__":
    sys.exit(main())
