"""A verified split on disk: the only form in which images reach training and evaluation.

A split is a folder of three files:

- ``images.npy``: uint8, shape (n, size, size, 3), RGB, values 0 to 255
- ``labels.npy``: int32, shape (n,), the index of each image's class
- ``index.json``: the class names, how many images each source folder gave, each image's name in the order of the
  arrays, as how many bits a channel images of 16 were read, and, unless it is ``squash``, how images became square
"""

from __future__ import annotations

import json
import math
import mmap
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Literal

import numpy as np
from numpy.typing import NDArray

from stages.common.console import UserError
from stages.common.files import errors_naming, write_array, write_json

# How an image that is not square becomes so: distorted, cut to the largest square at its centre, or whole on a border.
Resize = Literal["squash", "crop", "pad"]

ZEROS_AT_ONCE = 2**20  # bytes
BYTES_AT_ONCE = 32 * 2**20  # of pixels in memory: ten thousand images of CIFAR-10


@dataclass(frozen=True)
class Split:
    """One verified split.

    Attributes:
        images: uint8, shape (n, size, size, 3), RGB; a read-only memory map.
        labels: int32, shape (n,), indices into ``classes``.
        classes: names of the classes, sorted.
        folder_sizes: number of images that came from each source folder, in the order of the arrays; sums to n.
        image_names: ``folder/class/file`` of each image, length n.
        depth: as how many bits a channel images of 16 were read; see :mod:`stages.dataset.bit_depth`.
        resize: how images that were not square became so; see :mod:`stages.dataset.conversion`.
    """

    images: NDArray[np.uint8]
    labels: NDArray[np.int32]
    classes: tuple[str, ...]
    folder_sizes: tuple[int, ...]
    image_names: tuple[str, ...]
    depth: int = 16
    resize: Resize = "squash"


def allocate_images(folder: Path, count: int, image_size: int) -> None:
    """Create ``folder/images.npy`` with ``count`` images of zeros, to be filled through :func:`open_images`.

    Its space on the disk is taken at once. With a sparse file, writing to the memory map of a full disk would kill the
    process (SIGBUS) without a message.

    Raises:
        OSError: the disk has no room for it.
    """
    header = {"descr": "|u1", "fortran_order": False, "shape": (count, image_size, image_size, 3)}
    size = 3 * count * image_size**2
    path = folder / "images.npy"
    folder.mkdir(parents=True, exist_ok=True)
    with errors_naming(path), path.open("wb") as file:
        np.lib.format.write_array_header_1_0(file, header)
        _append_zeros(file, size)


def _append_zeros(file: BinaryIO, size: int) -> None:
    file.flush()
    if hasattr(os, "posix_fallocate"):
        os.posix_fallocate(file.fileno(), 0, file.tell() + size)
    else:  # macOS
        for start in range(0, size, ZEROS_AT_ONCE):
            file.write(bytes(min(ZEROS_AT_ONCE, size - start)))


def open_images(folder: Path) -> NDArray[np.uint8]:
    """The images of an allocated split as a writable memory map; processes may fill separate rows side by side."""
    images: NDArray[np.uint8] = np.load(folder / "images.npy", mmap_mode="r+")
    return images


def at_once(image_size: int) -> int:
    """How many images of ``image_size`` pixels a side fit into :data:`BYTES_AT_ONCE`; at least one."""
    return max(1, BYTES_AT_ONCE // (3 * image_size**2))


def pieces(images: NDArray[np.uint8], count: int) -> Iterator[NDArray[np.uint8]]:
    """Yield ``images``, ``count`` at a time, and drop each piece from memory before the next."""
    for first in range(0, len(images), count):
        yield images[first : first + count]
        drop_pages(images)


def drop_pages(images: NDArray[np.uint8]) -> None:
    """Free the memory of ``images`` if they are a memory map.

    The pages read from a map count as the process's memory, which would grow to the whole dataset. Pages that are read
    again come from the system's cache of the file.
    """
    mapped = _map_of(images)
    if mapped is not None:
        mapped.madvise(mmap.MADV_DONTNEED)


def prefetch(images: NDArray[np.uint8], rows: NDArray[np.int32]) -> None:
    """Let the system read these rows of a whole split from the disk, side by side, without waiting for them.

    From then on it reads nothing beside what is asked for. By itself it takes each read for the beginning of a longer
    one, which is right for :func:`pieces`; but of images in random order it read fifty times their bytes.
    """
    mapped = _map_of(images)
    if mapped is None:
        return
    mapped.madvise(mmap.MADV_RANDOM)
    row_bytes = math.prod(images.shape[1:])
    first = len(mapped) - images.nbytes  # behind the header
    for start in (first + rows.astype(np.int64) * row_bytes).tolist():
        page = start - start % mmap.PAGESIZE
        mapped.madvise(mmap.MADV_WILLNEED, page, start + row_bytes - page)


def _map_of(images: NDArray[np.uint8]) -> mmap.mmap | None:
    """The memory map that ``images`` lie in; None if there is none, or the system takes no advice about it."""
    base: Any = images
    while isinstance(base, np.ndarray):
        base = base.base
    return base if isinstance(base, mmap.mmap) and hasattr(base, "madvise") else None


def keep_images(folder: Path, rows: NDArray[np.int64]) -> None:
    """Drop the images of an allocated split that are not in ``rows``."""
    shorter = folder / "shorter"
    copy_images(folder, rows, shorter)
    os.replace(shorter / "images.npy", folder / "images.npy")
    shorter.rmdir()


def copy_images(source: Path, rows: NDArray[np.int64], folder: Path) -> None:
    """Allocate ``folder`` and fill it with these rows of another allocated split."""
    image_size = open_images(source).shape[1]
    allocate_images(folder, len(rows), image_size)
    count = at_once(image_size)
    for start in range(0, len(rows), count):
        # Opened for each step, because a map's pages count as the process's memory until it is closed.
        piece = open_images(source)[rows[start : start + count]]
        open_images(folder)[start : start + len(piece)] = piece


def complete(
    folder: Path,
    labels: NDArray[np.int32],
    classes: Sequence[str],
    folder_sizes: Sequence[int],
    image_names: Sequence[str],
    depth: int = 16,
    resize: Resize = "squash",
) -> None:
    """Write a split's other two files; see :class:`Split` for the arguments."""
    write_array(folder / "labels.npy", labels.astype(np.int32))
    index = {"classes": list(classes), "folder_sizes": list(folder_sizes), "names": list(image_names), "depth": depth}
    if resize != "squash":  # which earlier versions did without a word
        index["resize"] = resize
    write_json(folder / "index.json", index)


def load(folder: str | Path) -> Split:
    """Open a split; its images stay on disk until they are read.

    Raises:
        UserError: the folder holds no complete split.
    """
    folder = Path(folder)
    try:
        images = np.load(folder / "images.npy", mmap_mode="r")
        labels = np.load(folder / "labels.npy")
        index = json.loads((folder / "index.json").read_text(encoding="utf-8"))
        return Split(
            images=images,
            labels=labels,
            classes=tuple(index["classes"]),
            folder_sizes=tuple(index["folder_sizes"]),
            image_names=tuple(index["names"]),
            depth=index.get("depth", 16),  # missing in splits of earlier versions
            resize=index.get("resize", "squash"),
        )
    except (FileNotFoundError, ValueError, KeyError, EOFError) as error:
        raise UserError(f"{folder} holds no verified split ({error}); run `dvc repro verify`") from error
