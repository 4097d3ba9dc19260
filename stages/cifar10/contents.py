"""CIFAR-10: its classes, the checksums of its six batches, and how a batch becomes a zip of class folders.

The dataset is Alex Krizhevsky's, "Learning Multiple Layers of Features from Tiny Images", 2009.
"""

from __future__ import annotations

import hashlib
import io
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

# The position is the label. The number in front keeps this order wherever folders are sorted by name.
CLASSES = (
    "000_airplane",
    "001_automobile",
    "002_bird",
    "003_cat",
    "004_deer",
    "005_dog",
    "006_frog",
    "007_horse",
    "008_ship",
    "009_truck",
)
IMAGE_SIZE = 32  # pixels, width and height
# The batches in order, by their file names in both kinds of archive, without folder and suffix.
FILES = {
    "data_batch_1": "train1",
    "data_batch_2": "train2",
    "data_batch_3": "train3",
    "data_batch_4": "train4",
    "data_batch_5": "train5",
    "test_batch": "test",
}

PNG_COMPRESS_LEVEL = 6  # 2 % smaller files than with level 1 in about the same time; level 9 gains nothing more


@dataclass(frozen=True)
class Batch:
    """One of the six parts that CIFAR-10 is published in.

    Attributes:
        name: ``train1`` to ``train5`` or ``test``.
        images: uint8, shape (n, 32, 32, 3), RGB, values 0 to 255.
        labels: uint8, shape (n,), indices into ``CLASSES``.
    """

    name: str
    images: NDArray[np.uint8]
    labels: NDArray[np.uint8]


@dataclass(frozen=True)
class Contents:
    """What the batches must hold.

    Attributes:
        images_per_batch: the same for every batch.
        checksums: for each batch by name, the SHA-256 of the bytes of its images and then its labels.
    """

    images_per_batch: int
    checksums: Mapping[str, str]


# Computed from arrays whose channel means and deviations, first labels and class counts are as published.
CIFAR10 = Contents(
    images_per_batch=10_000,
    checksums={
        "train1": "8350d89ba6404c270d263d84bf037e74b0158eecac79f27405efcf23445a6997",
        "train2": "28d2d506ff2e052a3c902ac74931514d4c22d54b3f23622088bee441ab096cf0",
        "train3": "e56532de152c7a77fc2a722499682f2699ce5177bbfac2ed2e415096184fa1d9",
        "train4": "bb996a8ffff861dd5cca88c397fdfb884f0c482c5588bd32cea3dc7b648709bb",
        "train5": "efb6334c7c1f88ac69032959408d9eeccb983002e83119b66de7309d3d2c7915",
        "test": "8193b3fbce55bec361cd1b8fd4880cb1649832dc4d6de6da1e7a21847a4843aa",
    },
)


def checksum(batch: Batch) -> str:
    """The SHA-256 of a batch in hexadecimal, as in :class:`Contents`."""
    digest = hashlib.sha256(np.ascontiguousarray(batch.images).data)
    digest.update(batch.labels.tobytes())
    return digest.hexdigest()


def write_zip(batch: Batch, path: Path) -> None:
    """Write a zip of files ``class/index.png``, sorted by class and then by index within the batch.

    Dates and attributes are fixed, so equal batches give equal bytes. The zip does not compress: PNG is compressed.
    """
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        for index in np.argsort(batch.labels, kind="stable"):
            member = zipfile.ZipInfo(f"{CLASSES[batch.labels[index]]}/{index:05}.png")  # dated 1 January 1980
            member.create_system = 3  # Unix, on every system
            member.external_attr = 0o100644 << 16
            archive.writestr(member, _png(batch.images[index]))


def _png(image: NDArray[np.uint8]) -> bytes:
    encoded = io.BytesIO()
    Image.fromarray(image).save(encoded, "PNG", compress_level=PNG_COMPRESS_LEVEL)
    return encoded.getvalue()
