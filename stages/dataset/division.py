"""Divides the images of the training folders: takes validation and test images off them, by class and by group.

Of each class a split gets its share, as nearly as whole images allow, and images of one group stay together. The test
images are taken first, so they are the same for all folds.

scikit-learn has shares by class (StratifiedShuffleSplit) or by group (GroupShuffleSplit), and only folds by both. Its
StratifiedGroupKFold takes thirty times as long as the one loop here that does it all, and its folds are less even.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from stages.common.console import UserError
from stages.dataset.image_folders import ImageFolder
from stages.dataset.inspection import Inspection
from stages.dataset.settings import NO_GROUP, Dataset, Fold

WHOLE = 10**6  # shares are counted in millionths, since whole numbers add up alike on every processor
TOLERANCE = 0.5  # by this share of its size a split may be larger or smaller than asked for, since groups stay together


def groups_by_name(folders: Iterable[ImageFolder], dataset: Dataset) -> list[str]:
    """The group of each image of the training folders: what the pattern finds in its name, or else the whole name.

    Raises:
        UserError: the pattern finds nothing in a name.
    """
    names = [f"{folder.name}/{member.path}" for folder in folders for member in folder.members]
    pattern = dataset.division.group
    if pattern == NO_GROUP or not dataset.is_divided:
        return names
    found = [match[1] if (match := re.search(pattern, name)) else None for name in names]
    without = [name for name, group in zip(names, found, strict=True) if group is None]
    if without:
        raise UserError(
            f"dataset.division.group: {pattern} is not found in {len(without):,} of {len(names):,} names, such as "
            f"{without[0]}; correct it in params.yaml, since each image needs a group"
        )
    return [group for group in found if group is not None]


def divided(inspection: Inspection, groups: Sequence[str], dataset: Dataset) -> Inspection:
    """``inspection`` with the training folders' images divided as the parameters say.

    Which image goes where depends on the seed, and on names, classes and groups of the images that can be read.

    Args:
        groups: of :func:`groups_by_name`.

    Raises:
        UserError: a split would lack a class, or be far from its size because groups stay together.
    """
    train, validation, test = range(3)
    rows = np.flatnonzero(inspection.readable & (inspection.split_of == train))
    if not dataset.is_divided or not len(rows):
        return inspection
    rows = np.array(sorted(rows.tolist(), key=inspection.image_names.__getitem__))
    copies = inspection.copies[:, [0, 2]]
    pairs = np.concatenate([copies, inspection.near_partners]) if dataset.division.near_duplicates else copies
    place = np.full(len(inspection.readable), -1)
    place[rows] = np.arange(len(rows))
    pairs = place[pairs]
    images = _Images(
        inspection.labels[rows],
        joined([groups[row] for row in rows.tolist()], pairs[(pairs >= 0).all(axis=1)]),
        inspection.classes,
    )
    split_of, seed, left = inspection.split_of.copy(), dataset.division.seed, WHOLE
    if isinstance(dataset.test, float):
        share = round(WHOLE * dataset.test)
        left -= share
        parts = _parts("dataset.test", images, [left, share], [seed, 0])
        split_of[rows[parts == 1]] = test
        rows, images = rows[parts == 0], images.of(parts == 0)
    if isinstance(dataset.validation, float):
        share = round(WHOLE * dataset.validation)
        parts = _parts("dataset.validation", images, [left - share, share], [seed, 1])
        split_of[rows[parts == 1]] = validation
    elif isinstance(dataset.validation, Fold):
        parts = _parts("dataset.validation.folds", images, [1] * dataset.validation.folds, [seed, 1])
        split_of[rows[parts == dataset.validation.fold - 1]] = validation
    return replace(inspection, division=split_of)


@dataclass(frozen=True)
class _Images:
    """Labels and groups, shape (n,), of images in the order of their names; and the names of all classes."""

    labels: NDArray[np.int32]
    groups: NDArray[np.int64]
    classes: Sequence[str]

    def of(self, chosen: NDArray[np.bool_]) -> _Images:
        return replace(self, labels=self.labels[chosen], groups=self.groups[chosen])


def _parts(key: str, images: _Images, shares: Sequence[int], seed: Sequence[int]) -> NDArray[np.int64]:
    """As :func:`assigned`.

    Raises:
        UserError: a part lacks a class, or is far from its size; the message begins with ``key``.
    """
    parts = assigned(images.labels, images.groups, shares, seed)
    counts = np.zeros((len(shares), len(images.classes)), np.int64)
    np.add.at(counts, (parts, images.labels), 1)
    of_class = counts.sum(axis=0)
    lacking = np.flatnonzero((of_class > 0) & (counts == 0).any(axis=0))
    if len(lacking):
        label = lacking[of_class[lacking].argmin()]
        number, groups = int(of_class[label]), len(np.unique(images.groups[images.labels == label]))
        raise UserError(
            f"{key}: a split would have no image of class {images.classes[label]}, of which {number:,} "
            f"image{'s' * (number != 1)} in {groups:,} group{'s' * (groups != 1)} can be divided; bring more, or "
            f"change {key} in params.yaml"
        )
    sizes, wanted = counts.sum(axis=1), np.array(shares) * len(parts) / sum(shares)
    # Small classes give each split an image, so its size may also differ by one a class.
    excess = np.abs(sizes - wanted) - np.maximum(TOLERANCE * wanted, len(images.classes))
    worst = int(excess.argmax())
    if excess[worst] > 0:
        raise UserError(
            f"{key}: a split of about {wanted[worst]:,.0f} images was asked for and would have {sizes[worst]:,}, since "
            f"the largest group has {np.bincount(images.groups).max():,} of all {len(parts):,}; change {key} or "
            "dataset.division in params.yaml"
        )
    return parts


def joined(names: Sequence[str], pairs: NDArray[np.int64]) -> NDArray[np.int64]:
    """The groups as numbers, shape (n,), in the order in which they begin.

    Args:
        names: of each image's group.
        pairs: shape (m, 2), images whose groups become one.
    """
    # Not at the top, because the decoding processes import this file.
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    first: dict[str, int] = {}
    firsts = np.array([first.setdefault(name, index) for index, name in enumerate(names)])
    links = np.concatenate([np.stack([np.arange(len(names)), firsts], axis=1), pairs])
    graph = coo_array((np.ones(len(links), np.bool_), tuple(links.T)), shape=(len(names), len(names)))
    _, component = connected_components(graph, directed=False)
    _, begin, group = np.unique(component, return_index=True, return_inverse=True)
    numbers: NDArray[np.int64] = np.argsort(np.argsort(begin))[group]
    return numbers


def assigned(
    labels: NDArray[np.int32], groups: NDArray[np.int64], shares: Sequence[int], seed: Sequence[int]
) -> NDArray[np.int64]:
    """The part of each image, shape (n,). Groups stay together, and each part gets about its share of each class.

    The groups are dealt out from the largest to the smallest, in random order where they are equal. Each goes to the
    part that lacks most of its images, where an image of a rare class counts more. If all are groups of one image, a
    part's share of each class is met to one image.

    Args:
        labels, groups: whole numbers from 0, shape (n,).
        shares: of the parts, in proportion to each other.
    """
    counts = np.bincount(labels)
    weights = (WHOLE // np.maximum(counts, 1)).tolist()
    image = sum(shares)  # the unit in which parts lack images
    wanted = np.outer(shares, counts).tolist()
    lacking = np.outer(shares, counts).tolist()
    lacking_in_all = [share * len(labels) for share in shares]

    def need(part: int, held: list[int]) -> tuple[int, int]:
        """How much the part lacks of the classes ``held``; and of any class, which decides between equals."""
        classes, at_first = lacking[part], wanted[part]
        # In whole images, and one more where the part has none of the class yet.
        images = ((-(-classes[label] // image) + (classes[label] == at_first[label]), label) for label in held)
        return sum(count * weights[label] for count, label in images), lacking_in_all[part]

    sizes = np.bincount(groups)
    shuffled = np.random.default_rng(list(seed)).permutation(len(sizes))
    order = shuffled[np.argsort(-sizes[shuffled], kind="stable")].tolist()
    by_group = labels[np.argsort(groups, kind="stable")].tolist()
    ends = np.cumsum(sizes).tolist()
    part_of = [0] * len(sizes)
    for group in order:
        held = by_group[ends[group] - sizes[group] : ends[group]]
        needs = [need(part, held) for part in range(len(shares))]
        part = needs.index(max(needs))
        for label in held:
            lacking[part][label] -= image
        lacking_in_all[part] -= image * len(held)
        part_of[group] = part
    return np.array(part_of)[groups]
