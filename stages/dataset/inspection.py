"""What is known of a whole dataset once its images are decoded: the facts that the checks judge."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from stages.dataset.decoding import Decoded
from stages.dataset.image_folders import ImageFolder
from stages.dataset.near_duplicates import find_partners


@dataclass(frozen=True)
class Inspection:
    """The listed folders of each split, and what decoding told of their n images, in the same order.

    Attributes:
        folders: those of each split, by its name.
        images: of all folders, one after the other.
        read: from k rows to the images' pixels, shape (k, size, size, 3).
    """

    folders: Mapping[str, tuple[ImageFolder, ...]]
    images: Decoded
    read: Callable[[NDArray[np.int64]], NDArray[np.uint8]]

    @cached_property
    def all_folders(self) -> tuple[ImageFolder, ...]:
        return tuple(folder for folders in self.folders.values() for folder in folders)

    @cached_property
    def classes(self) -> tuple[str, ...]:
        """Names of all classes of all folders, sorted."""
        return tuple(sorted({name for folder in self.all_folders for name in folder.classes}))

    @cached_property
    def names(self) -> list[str]:
        """``folder/class/file`` of each image."""
        return [
            f"{folder.name}/{member.class_name}/{member.file_name}"
            for folder in self.all_folders
            for member in folder.members
        ]

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
        sizes = [sum(len(folder.members) for folder in folders) for folders in self.folders.values()]
        return np.repeat(np.arange(len(sizes), dtype=np.int32), sizes)

    @cached_property
    def readable(self) -> NDArray[np.bool_]:
        """Shape (n,), whether each image could be decoded."""
        return _readable(self.images)

    @cached_property
    def copies(self) -> NDArray[np.int64]:
        """Shape (k, 3): each image with the pixels of an earlier one, the last such one, and the first; sorted."""
        rows = np.flatnonzero(self.readable)
        rows = rows[np.argsort(self.images.digests[rows], kind="stable")]
        digests = self.images.digests[rows]
        again = np.flatnonzero(digests[1:] == digests[:-1]) + 1
        starts = np.ones(len(rows), np.bool_)
        starts[again] = False
        first = np.maximum.accumulate(np.where(starts, np.arange(len(rows)), 0))
        copies = np.stack([rows[again], rows[again - 1], rows[first[again]]], axis=1)
        return copies[np.argsort(copies[:, 0])]

    def class_counts(self) -> NDArray[np.int64]:
        """Readable images of each class in each split, shape (number of splits, number of classes)."""
        counts = np.zeros((len(self.folders), len(self.classes)), np.int64)
        np.add.at(counts, (self.split_of[self.readable], self.labels[self.readable]), 1)
        return counts


def near_partners(
    images: Decoded,
    split_of: NDArray[np.int32],
    max_distance: int,
    min_correlation: float,
    read: Callable[[NDArray[np.int64]], NDArray[np.uint8]],
) -> NDArray[np.int64]:
    """For each image an earlier one that it nearly, not wholly, equals: one in its split, one in another.

    Unreadable images have none, and of wholly equal ones the first stands for all. For the arguments and the result see
    :func:`~stages.dataset.near_duplicates.find_partners`.
    """
    rows = np.flatnonzero(_readable(images))
    _, first = np.unique(images.digests[rows], return_index=True)
    rows = rows[np.sort(first)]
    hashes, splits = images.hashes[rows], split_of[rows]
    return rows[find_partners(hashes, splits, max_distance, min_correlation, lambda some: read(rows[some]))]


def _readable(images: Decoded) -> NDArray[np.bool_]:
    readable = np.ones(len(images.digests), np.bool_)
    readable[list(images.errors)] = False
    return readable
