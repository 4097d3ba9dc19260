"""`python -m benchmarks.beyond_memory`: `verify` and an epoch of `train` with four times the images that memory holds.

A stage runs in turn without a limit, its files in memory, and under a limit of the kernel's (a cgroup), its files on
disk alone. The limit counts all that the stage and its children hold, the system's cache of their files included. It
needs root, and 6 GB below the temporary folder.
"""

from __future__ import annotations

import os
import re
import signal
import sys
import tempfile
import time
import zipfile
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from functools import partial
from io import BytesIO
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from PIL import Image

from benchmarks.commands import seconds_of_epochs
from benchmarks.measuring import processor, ratio, run, spread
from stages.splits import packed

ROOT = Path(__file__).parent.parent
LIMIT = 1024  # MiB, of which TensorFlow takes about 600 before the first image
TIMES = 4  # the limit, in pixels of the training split
ROUNDS = 3
CLASSES = ("first", "second", "third")
SHARES = {"train": 0.9, "validation": 0.05, "test": 0.05}
# A network that computes little, so that what reading costs is seen.
MODEL = {"filters": [8, 16], "dense": []}


def main() -> None:
    os.environ["PYTHONPATH"] = str(ROOT)
    rows = [
        f"{processor()}; limit: {LIMIT:,} MiB",
        "",
        "| stage, pixels a side | images | MiB of pixels | seconds, in memory | under the limit | ratio | peak MiB |",
        "|---|---|---|---|---|---|---|",
    ]
    with limited() as procs:
        for size, image_files in ((224, True), (32, False)):
            count = TIMES * LIMIT * 2**20 // (3 * size**2)
            with tempfile.TemporaryDirectory() as name:
                folder = Path(name)
                write_parameters(folder, size)
                if image_files:
                    write_images(folder / "data/drawn", count, size)
                    rows.append(compared("verify", folder, procs, count, size))
                else:
                    write_splits(folder / "data/verified", count, size)
                rows.append(compared("train", folder, procs, count, size))
    print("\n".join(rows))


@contextmanager
def limited() -> Iterator[Path]:
    """A cgroup whose processes hold :data:`LIMIT` MiB together; the file that takes their numbers."""
    try:
        first_version = Path("/sys/fs/cgroup/memory")
        if first_version.is_dir():
            own = re.findall(r"^\d+:memory:(.*)$", Path("/proc/self/cgroup").read_text(), re.MULTILINE)[0]
            group, file = first_version / own.strip("/"), "memory.limit_in_bytes"
        else:
            group, file = Path("/sys/fs/cgroup"), "memory.max"
        group = group / f"beyond_memory_{os.getpid()}"
        group.mkdir()
    except (OSError, IndexError) as error:
        sys.exit(f"beyond_memory: no limit can be set ({error}); run it as root on Linux")
    try:
        (group / file).write_text(str(LIMIT * 2**20))
        if (group / "memory.swap.max").exists():
            (group / "memory.swap.max").write_text("0")
        yield group / "cgroup.procs"
    finally:
        while numbers := (group / "cgroup.procs").read_text().split():  # after Ctrl-C
            for number in numbers:
                os.kill(int(number), signal.SIGKILL)
            time.sleep(0.1)
        group.rmdir()


def compared(stage: str, folder: Path, procs: Path, count: int, size: int) -> str:
    """A row of the table."""
    command = [sys.executable, "-m", f"stages.{stage}"]
    in_group = ["sh", "-c", 'echo $$ > "$0" && exec "$@"', str(procs), *command]
    free: list[float] = []
    bound: list[float] = []
    peak = 0.0
    for number in range(1, ROUNDS + 1):
        for on_disk, seconds, words in ((False, free, command), (True, bound, in_group)):
            for path in (folder / "data").rglob("*.*"):
                evict(path) if on_disk else path.read_bytes()
            done = run(words, folder)
            seconds.append(seconds_of_epochs(done) if stage == "train" else done.seconds)
            peak = max(peak, done.memory)
        print(f"{stage}, {size} pixels, round {number} of {ROUNDS}: {free[-1]:.1f} s, {bound[-1]:.1f} s", flush=True)
    what = f"`{stage}`, one epoch" if stage == "train" else f"`{stage}`"
    mebibytes = count * 3 * size**2 // 2**20
    times = f"{spread(free)} | {spread(bound)} | {ratio(bound, free)}"
    return f"| {what}, {size} | {count:,} | {mebibytes:,} | {times} | {peak:,.0f} |"


def evict(path: Path) -> None:
    """Drop what the system's cache holds of a file, which would come from memory without counting."""
    with path.open("rb") as file:
        os.fsync(file)
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def write_parameters(folder: Path, size: int) -> None:
    values: dict[str, Any] = yaml.safe_load((ROOT / "params.yaml").read_text())
    names = {"root": "data/drawn", "train": ["train"], "validation": ["validation"], "test": ["test"]}
    values["dataset"] |= names | {"image_size": size, "classes": None, "images_per_folder": None}
    values["model"] |= MODEL
    values["train"]["epochs"] = 1
    (folder / "params.yaml").write_text(yaml.safe_dump(values))


def write_images(root: Path, count: int, size: int) -> None:
    """Zips of JPEGs, one for each split."""
    root.mkdir(parents=True)
    with ProcessPoolExecutor(mp_context=get_context("spawn")) as pool:
        for seed, (name, share) in enumerate(SHARES.items()):
            with zipfile.ZipFile(root / f"{name}.zip", "w") as file:
                drawn = pool.map(partial(jpeg, seed, size), range(round(count * share)), chunksize=100)
                for number, data in enumerate(drawn):
                    file.writestr(f"{CLASSES[number % len(CLASSES)]}/{number:07d}.jpg", data)


def jpeg(seed: int, size: int, number: int) -> bytes:
    """A square of soft colours, unlike every other."""
    coarse = np.random.default_rng([seed, number]).integers(0, 256, (9, 9, 3), np.uint8)
    written = BytesIO()
    Image.fromarray(coarse).resize((size, size), Image.Resampling.BICUBIC).save(written, "JPEG", quality=85)
    return written.getvalue()


def write_splits(folder: Path, count: int, size: int) -> None:
    """Packed splits of noise, as many images as files of them would take too long to write."""
    generator = np.random.default_rng(0)
    for name, share in list(SHARES.items())[:2]:
        images = round(count * share)
        packed.allocate_images(folder / name, images, size)
        for first in range(0, images, packed.at_once(size)):
            rows = packed.open_images(folder / name)[first : first + packed.at_once(size)]
            rows[:] = generator.integers(0, 256, rows.shape, np.uint8)
        labels = generator.integers(0, len(CLASSES), images).astype(np.int32)
        packed.complete(folder / name, labels, CLASSES, [images], [f"train/{number}" for number in range(images)])


if __name__ == "__main__":
    main()
