"""The facts about a whole dataset, known when its images are decoded; the checks judge them."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from hashlib import blake2b

import numpy as np
from numpy.typing import NDArray

from stages.dataset.conversion import decode_image
from stages.dataset.decoding import Decoded
from stages.dataset.image_folders import ImageFolder, reader
from stages.dataset.near_duplicates import find_partners
from stages.dataset.settings import Thresholds


@dataclass(frozen=True)
class Inspection:
    """The listed folders of each split, and the facts about their n images in the same order.

    Attributes:
        folders: by the name of the split.
        images: of all folders, one after the other.
        thresholds: for the search for near duplicates.
        division: shape (n,), the index of each image's split in ``folders``; None if it is that of its folder.
    """

    folders: Mapping[str, tuple[ImageFolder, ...]]
    images: Decoded
    thresholds: Thresholds
    division: NDArray[np.int32] | None = None

    @cached_property
    def all_folders(self) -> tuple[ImageFolder, ...]:
        return tuple(folder for folders in self.folders.values() for folder in folders)

    @cached_property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes of all folders, sorted."""
        return tuple(sorted({name for folder in self.all_folders for name in folder.classes}))

    @cached_property
    def image_names(self) -> list[str]:
        """The path of each image, ``folder/class/file``, with all folders between them."""
        return [f"{folder.name}/{member.path}" for folder in self.all_folders for member in folder.members]

    @cached_property
    def labels(self) -> NDArray[np.int32]:
        """Shape (n,), the index of each image's class."""
        index = {name: label for label, name in enumerate(self.classes)}
        labels = (index[member.class_name] for folder in self.all_folders for member in folder.members)
        return np.fromiter(labels, np.int32)

    @cached_property
    def folder_of(self) -> NDArray[np.int32]:
        """Shape (n,), the index of each image's folder in :attr:`all_folders`."""
        sizes = [len(folder.members) for folder in self.all_folders]
        return np.repeat(np.arange(len(sizes), dtype=np.int32), sizes)

    @cached_property
    def split_of(self) -> NDArray[np.int32]:
        """Shape (n,), the index of each image's split in :attr:`folders`."""
        if self.division is not None:
            return self.division
        sizes = [sum(len(folder.members) for folder in folders) for folders in self.folders.values()]
        return np.repeat(np.arange(len(sizes), dtype=np.int32), sizes)

    @cached_property
    def readable(self) -> NDArray[np.bool_]:
        """Shape (n,), whether each image could be decoded."""
        readable = np.ones(len(self.images.digests), np.bool_)
        readable[list(self.images.errors)] = False
        return readable

    @cached_property
    def copies(self) -> NDArray[np.int64]:
        """Shape (k, 3), sorted: an image with the pixels of earlier ones, the last of these, and the first of these."""
        return _copies(np.flatnonzero(self.readable), self.images.digests)

    @cached_property
    def full_size_copies(self) -> NDArray[np.int64]:
        """Those of :attr:`copies` that are equal before resizing too; the same columns.

        Only images in doubt are decoded again, and files with the same bytes only once.
        """
        row, _, first = self.copies.T
        converted = np.zeros(len(self.readable), np.bool_)
        converted[list(self.images.conversions)] = True
        groups = np.unique(first[converted[row] | converted[first]])
        doubtful = np.union1d(groups, row[np.isin(first, groups)])
        digests = self.images.digests.copy()
        seen: dict[bytes, int] = {}
        for index in np.unique(self.folder_of[doubtful]):
            folder, start = self.all_folders[index], np.searchsorted(self.folder_of, index)
            assert folder.path is not None
            with reader(folder.path) as read:
                for place in doubtful[self.folder_of[doubtful] == index]:
                    data = read(folder.members[place - start])
                    key = blake2b(data).digest()
                    seen[key] = seen[key] if key in seen else _full_size_digest(data, self.images.depth)
                    digests[place] = seen[key]
        return _copies(np.flatnonzero(self.readable), digests)

    @cached_property
    def near_partners(self) -> NDArray[np.int64]:
        """Shape (m, 2), sorted: an image and an earlier one of the same scene; see ``near_duplicates.find_partners``.

        The first of equal images represents all of them.
        """
        rows = np.flatnonzero(self.readable)
        _, first = np.unique(self.images.digests[rows], return_index=True)
        rows = rows[np.sort(first)]
        return rows[find_partners(self.images.spectra[rows], self.split_of[rows], self.thresholds.correlation)]

    @property
    def near_leaked_images(self) -> int:
        """How many images have an earlier near duplicate in another split."""
        image, partner = self.near_partners.T
        return len(np.unique(image[self.split_of[image] != self.split_of[partner]]))

    @property
    def near_leaked_test_images(self) -> int:
        """How many test images nearly equal a training image, which makes the test's figures too good."""
        splits = list(self.folders)
        image, partner = self.near_partners.T
        leaked = (self.split_of[image] == splits.index("test")) & (self.split_of[partner] == splits.index("train"))
        return len(np.unique(image[leaked]))

    def class_counts(self) -> NDArray[np.int64]:
        """Readable images of each class in each split, shape (number of splits, number of classes)."""
        counts = np.zeros((len(self.folders), len(self.classes)), np.int64)
        np.add.at(counts, (self.split_of[self.readable], self.labels[self.readable]), 1)
        return counts


def _copies(rows: NDArray[np.int64], digests: NDArray[np.uint64]) -> NDArray[np.int64]:
    """Shape (k, 3), sorted: a row with the digest of earlier ones, the last of these, and the first of these."""
    rows = rows[np.argsort(digests[rows], kind="stable")]
    again = np.flatnonzero(digests[rows[1:]] == digests[rows[:-1]]) + 1
    starts = np.ones(len(rows), np.bool_)
    starts[again] = False
    first = np.maximum.accumulate(np.where(starts, np.arange(len(rows)), 0))
    copies = np.stack([rows[again], rows[again - 1], rows[first[again]]], axis=1)
    return copies[np.argsort(copies[:, 0])]


def _full_size_digest(data: bytes, depth: int) -> int:
    """A hash of the size and the RGB pixels, turned upright, of an image that was decoded before."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow's, as in the first decoding
        image, _ = decode_image(data, None, depth)
    digest = blake2b(np.asarray(image).data, digest_size=8, salt=f"{image.width}x{image.height}".encode()[:16])
    return int.from_bytes(digest.digest(), "little")
