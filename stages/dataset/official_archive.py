"""The official ``cifar-10-python.tar.gz``: six pickles, which are read but never run.

Each batch is a dictionary that cPickle of Python 2 wrote with protocol 2: ``batch_label``, ``labels`` (a list of
integers), ``data`` (an array of uint8, one row an image: 1024 values of red, then green, then blue) and ``filenames``.

A pickle is a program. Even an unpickler that is allowed no names but numpy's can be led to fill the memory (by a memo
index of 2^31) or to compute without end (by hashing a tuple nested in itself). So none is used: of the sequence of
opcodes, which ``pickletools`` parses without obeying any, the integers behind ``labels`` and the one string that is as
long as all pixels are all that is needed. Whether they are right, the checksums of CIFAR-10 tell.
"""

from __future__ import annotations

import pickletools
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from stages.common.console import UserError
from stages.dataset.cifar10 import CLASSES, IMAGE_SIZE, Batch
from stages.dataset.tar_archive import read_members

FOLDER = "cifar-10-batches-py"
BATCHES = {f"{FOLDER}/data_batch_{number}": f"train{number}" for number in range(1, 6)} | {
    f"{FOLDER}/test_batch": "test"
}
BYTES_PER_IMAGE = 3 * IMAGE_SIZE * IMAGE_SIZE
# Beside its pixels, an image has a label and a file name of about 32 bytes in all; the rest is room for the frame.
MAX_BYTES_PER_IMAGE = BYTES_PER_IMAGE + 100
MAX_FRAME_BYTES = 1000

INTEGER_OPCODES = {"BININT1", "BININT2", "BININT", "LONG1"}  # as protocol 2 writes small integers
# The opcodes that name something to be called or looked up, and the names without which there is no numpy array.
NAMING_OPCODES = {"GLOBAL", "STACK_GLOBAL", "INST", "EXT1", "EXT2", "EXT4", "PERSID", "BINPERSID"}
NUMPY_NAMES = {
    "numpy.core.multiarray _reconstruct",
    "numpy._core.multiarray _reconstruct",  # its name since numpy 2
    "numpy ndarray",
    "numpy dtype",
}


def read_batches(archive: Path, images_per_batch: int) -> Iterator[Batch]:
    """Yield the six batches in the order of the archive, one in memory at a time.

    Raises:
        UserError: the archive or a pickle in it is not what it should be.
    """
    largest = images_per_batch * MAX_BYTES_PER_IMAGE + MAX_FRAME_BYTES
    for member, pickled in read_members(archive, dict.fromkeys(BATCHES, largest)):
        try:
            images, labels = _images_and_labels(pickled, images_per_batch)
        except ValueError as error:
            raise UserError(f"{archive}: {member} is not a batch of CIFAR-10: {str(error)[:200]}") from error
        yield Batch(BATCHES[member], images, labels)


def _images_and_labels(pickled: bytes, count: int) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """The images (count, 32, 32, 3) and labels (count,) of one batch.

    Raises:
        ValueError: the pickle is damaged, names anything but numpy's arrays, or holds no ``count`` images and labels.
    """
    pixels: NDArray[np.uint8] | None = None
    labels: list[int] = []
    last_string = ""
    by_columns = False  # numpy says so right before the bytes of an array: Fortran's order, or C's
    for opcode, argument, _ in pickletools.genops(pickled):
        if opcode.name in NAMING_OPCODES:
            if argument not in NUMPY_NAMES:
                raise ValueError(f"it would run {argument!r}" if argument else "it would run code")
        elif opcode.name in ("NEWTRUE", "NEWFALSE"):
            by_columns = opcode.name == "NEWTRUE"
        elif isinstance(argument, str):
            last_string = argument
            if len(argument) == count * BYTES_PER_IMAGE:
                pixels = _unpacked(argument.encode("latin-1"), by_columns)
        elif isinstance(argument, int) and opcode.name in INTEGER_OPCODES and last_string == "labels":
            labels.append(argument)
    if pixels is None or len(labels) != count or not set(labels) <= set(range(len(CLASSES))):
        raise ValueError(f"it does not hold {count:,} images and their labels")
    return pixels, np.array(labels, np.uint8)


def _unpacked(data: bytes, by_columns: bool) -> NDArray[np.uint8]:
    """The images of an array (n, 3072) whose bytes lie in Fortran's or C's order."""
    rows = np.frombuffer(data, np.uint8).reshape((-1, BYTES_PER_IMAGE), order="F" if by_columns else "C")
    planes = rows.reshape(-1, 3, IMAGE_SIZE, IMAGE_SIZE)
    return np.ascontiguousarray(planes.transpose(0, 2, 3, 1))
