"""The official ``cifar-10-python.tar.gz``: six pickles written by Python 2.

Each is a dictionary with ``labels`` (a list of integers) and ``data`` (an array of uint8, one row an image: 1024 values
of red, then green, then blue). A pickle can run code, so read only an archive whose checksum is known.
"""

from __future__ import annotations

import pickle
import tarfile
from collections.abc import Iterator
from typing import IO, cast

import numpy as np

from stages.cifar10.contents import FILES, IMAGE_SIZE, Batch


def read_batches(tar: tarfile.TarFile) -> Iterator[Batch]:
    """Yield the six batches in the archive's own, mixed order; sorting them would inflate it several times."""
    for member in tar:
        name = FILES.get(member.name.removeprefix("cifar-10-batches-py/"))
        if name is None:
            continue
        batch = pickle.load(cast("IO[bytes]", tar.extractfile(member)), encoding="latin1")
        planes = batch["data"].reshape(-1, 3, IMAGE_SIZE, IMAGE_SIZE)
        images = np.ascontiguousarray(planes.transpose(0, 2, 3, 1))
        yield Batch(name, images, np.array(batch["labels"], np.uint8))
