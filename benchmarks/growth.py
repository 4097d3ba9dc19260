"""How ``verify`` and an epoch of ``train`` grow with the number of images."""

from __future__ import annotations

import shutil
import sys
import zipfile
from concurrent.futures import ProcessPoolExecutor
from io import BytesIO
from multiprocessing import get_context
from pathlib import Path

import numpy as np
from PIL import Image

from benchmarks.measuring import run
from stages import parameters
from stages.experiments import recipes

COUNTS = (10_000, 60_000, 600_000)
NOISE = 8  # levels of 255 at most, which leaves a copy a near duplicate


def measure(clone: Path) -> list[str]:
    """Rows of the table: the first images of each folder, all, and copies of them with noise."""
    dataset = parameters.load().dataset
    names = [name for folder_names in dataset.splits.values() for name in folder_names]
    original, root = clone / dataset.root, clone / "data/grown"
    parameters_file = clone / "params.yaml"
    as_it_was = parameters_file.read_text()
    rows = [
        "| Images | `verify`, seconds | peak MiB | `train`, one epoch, seconds | peak MiB |",
        "|---|---|---|---|---|",
    ]
    for count in COUNTS:
        images_per_folder = count // len(names)
        root.mkdir()
        with ProcessPoolExecutor(mp_context=get_context("spawn")) as pool:
            list(pool.map(grow, *zip(*((original, root, name, images_per_folder) for name in names), strict=True)))
        grown = {"root": "data/grown", "images_per_folder": images_per_folder}
        changes = {"dataset": grown, "train": {"epochs": 1}}
        parameters_file.write_text(recipes.applied(changes, as_it_was, "the benchmark"))
        verified, trained = (run([sys.executable, "-m", f"stages.{stage}"], clone) for stage in ("verify", "train"))
        rows.append(
            f"| {count:,} | {verified.seconds:.1f} | {verified.memory:.0f} "
            f"| {trained.seconds:.1f} | {trained.memory:.0f} |"
        )
        print(f"bench: {count:,} images: verify {verified.seconds:.0f} s, train {trained.seconds:.0f} s", flush=True)
        shutil.rmtree(root)
    parameters_file.write_text(as_it_was)
    return rows


def grow(original: Path, root: Path, name: str, count: int) -> None:
    """Write ``root/NAME.zip`` with ``count`` images: those of ``original/NAME.zip``, then copies of them with noise."""
    generator = np.random.default_rng(0)
    with zipfile.ZipFile(original / f"{name}.zip") as source, zipfile.ZipFile(root / f"{name}.zip", "w") as target:
        members = sorted(source.namelist(), key=lambda member: Path(member).name)  # so all classes are among the first
        members = [member for member in members if not member.endswith("/")]
        for index in range(count):
            member = members[index % len(members)]
            data = source.read(member)
            copy = index // len(members)
            if copy:
                pixels = np.asarray(Image.open(BytesIO(data))).astype(np.int16)
                noisy = pixels + generator.integers(-NOISE, NOISE + 1, pixels.shape)
                written = BytesIO()
                Image.fromarray(noisy.clip(0, 255).astype(np.uint8)).save(written, "PNG", compress_level=1)
                data, member = written.getvalue(), member.replace(".png", f"_{copy}.png")
            target.writestr(member, data)
