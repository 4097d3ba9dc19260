"""The checks on a dataset: each is a function from facts to issues, with a severity in ``params.yaml``."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import combinations
from typing import NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from stages.common.rounding import number, percent
from stages.dataset.image_folders import ImageFolder
from stages.dataset.inspection import Inspection
from stages.dataset.settings import Dataset, Severity

KEPT = 1000  # issues of a check that are listed; a dataset full of duplicates would have millions
NAMED_CLASSES = 5  # in one message
LAST, FIRST = 1, 2  # columns of Inspection.copies


class Issue(NamedTuple):
    """One finding: an image, folder or split, what is wrong with it, and of a pair the other image."""

    subject: str
    problem: str
    partner: str = ""


class Outcome(NamedTuple):
    """What one check found: the number of issues, and all of them or a sample of :data:`KEPT`.

    Issues are in the order of folders and classes, so a sample spread evenly over them has every large class.
    """

    check: str
    severity: Severity
    found: int
    sample: tuple[Issue, ...]


Check: TypeAlias = Callable[[Inspection, Dataset], Iterable[Issue]]


def run(inspection: Inspection, dataset: Dataset) -> list[Outcome]:
    """Run all checks in the order of :data:`CHECKS`; also those that are off, for the metrics have their numbers."""
    outcomes = []
    for name, check in CHECKS.items():
        found = sum(1 for _ in check(inspection, dataset))
        listed = {index * found // KEPT for index in range(KEPT)} if found > KEPT else range(found)
        sample = tuple(issue for index, issue in enumerate(check(inspection, dataset)) if index in listed)
        outcomes.append(Outcome(name, dataset.checks.severity(name), found, sample))
    return outcomes


def missing_folder(inspection: Inspection, dataset: Dataset) -> Iterator[Issue]:
    for folder in inspection.all_folders:
        if folder.path is None:
            path = f"{dataset.root}/{folder.name}"
            yield Issue(folder.name, f"is missing: there is no folder {path}/ and no {path}.zip")
        elif not folder.classes and all(refused.check != "unsafe_file" for refused in folder.refused):
            yield Issue(folder.name, "is empty: it has no class folders")


def unsafe_file(inspection: Inspection, dataset: Dataset) -> Iterator[Issue]:
    return _refused(inspection, "unsafe_file")


def misplaced_file(inspection: Inspection, dataset: Dataset) -> Iterator[Issue]:
    return _refused(inspection, "misplaced_file")


def empty_class(inspection: Inspection, dataset: Dataset) -> Iterator[Issue]:
    for folder, counts in zip(inspection.all_folders, _used(inspection, dataset), strict=True):
        listed = Counter(member.class_name for member in folder.members)
        for name, count in zip(inspection.classes, counts, strict=True):
            if name in folder.classes and not count:
                problem = f"has {listed[name]:,} images of which none can be read" if listed[name] else "has no images"
                yield Issue(f"{folder.name}/{name}", problem)


def class_set(inspection: Inspection, dataset: Dataset) -> Iterator[Issue]:
    for folder in _filled(inspection):
        lacking = sorted(set(inspection.classes) - set(folder.classes))
        if lacking:
            yield Issue(folder.name, f"lacks classes that other folders have: {_some(lacking)}")


def class_count(inspection: Inspection, dataset: Dataset) -> Iterator[Issue]:
    for folder in _filled(inspection):
        count = len(folder.classes)
        if dataset.classes is not None and count != dataset.classes:
            yield Issue(folder.name, f"has {count} class{'es' * (count != 1)}; dataset.classes says {dataset.classes}")
        elif count < 2:
            yield Issue(folder.name, "has one class; there is nothing to tell apart")


def folder_size(inspection: Inspection, dataset: Dataset) -> Iterator[Issue]:
    expected = dataset.images_per_folder
    for folder, size in zip(inspection.all_folders, _used(inspection, dataset).sum(axis=1), strict=True):
        if folder.classes and expected is not None and size != expected:
            images = "images" if size == len(folder.members) else "images that can be read"
            yield Issue(folder.name, f"has {size:,} {images}; dataset.images_per_folder says {expected:,}")


def unreadable_image(inspection: Inspection, dataset: Dataset) -> Iterator[Issue]:
    return _by_image(inspection, inspection.images.errors)


def converted_image(inspection: Inspection, dataset: Dataset) -> Iterator[Issue]:
    return _by_image(inspection, inspection.images.conversions)


def blank_image(inspection: Inspection, dataset: Dataset) -> Iterator[Issue]:
    flat = (inspection.images.deviations < dataset.thresholds.blank_deviation).all(axis=1) & inspection.readable
    for row in np.flatnonzero(flat):
        red, green, blue = inspection.images.means[row]
        yield Issue(
            inspection.image_names[row], f"is blank: red {red:.0f}, green {green:.0f}, blue {blue:.0f} all over"
        )


def class_imbalance(inspection: Inspection, dataset: Dataset) -> Iterator[Issue]:
    for split, counts in zip(inspection.folders, inspection.class_counts(), strict=True):
        filled = np.flatnonzero(counts)  # empty_class and class_set report classes without images
        if not len(filled):
            continue
        most, least = int(counts.argmax()), int(filled[counts[filled].argmin()])
        ratio = counts[most] / counts[least]
        if ratio > dataset.thresholds.class_ratio:
            yield Issue(
                split,
                f"has {ratio:.1f} times as many images of {inspection.classes[most]} ({counts[most]:,}) as of "
                f"{inspection.classes[least]} ({counts[least]:,})",
            )


def exact_duplicate(inspection: Inspection, dataset: Dataset) -> Iterator[Issue]:
    return _copies(inspection, dataset, LAST, lambda row, last: inspection.split_of[row] == inspection.split_of[last])


def leakage(inspection: Inspection, dataset: Dataset) -> Iterator[Issue]:
    split_of, where = inspection.split_of, ", which is in another split"
    return _copies(inspection, dataset, FIRST, lambda row, first: split_of[row] != split_of[first], where)


def label_conflict(inspection: Inspection, dataset: Dataset) -> Iterator[Issue]:
    labels, where = inspection.labels, ", which has another label"
    return _copies(inspection, dataset, FIRST, lambda row, first: labels[row] != labels[first], where)


def near_duplicate(inspection: Inspection, dataset: Dataset) -> Iterator[Issue]:
    image, partner = inspection.near_partners.T
    same_split = inspection.split_of[image] == inspection.split_of[partner]
    return _pairs(inspection, inspection.near_partners[same_split], "shows nearly the same picture as {}")


def near_leakage(inspection: Inspection, dataset: Dataset) -> Iterator[Issue]:
    image, partner = inspection.near_partners.T
    other_split = inspection.split_of[image] != inspection.split_of[partner]
    problem = "shows nearly the same picture as {}, which is in another split"
    return _pairs(inspection, inspection.near_partners[other_split], problem)


def channel_drift(inspection: Inspection, dataset: Dataset) -> Iterator[Issue]:
    """Splits whose images differ in their mean red, green or blue.

    The effect is the standardised mean difference: the difference of the splits' means over the standard deviation of
    an image's mean (Cohen's d with the mean of both variances). The significance is Welch's t-test.
    """
    # Not at the top, because the decoding processes import this file. scipy.stats, which has the test, takes a second.
    from scipy.special import stdtr

    for (split, a), (other_split, b) in combinations(_means_by_split(inspection), 2):
        if min(len(a), len(b)) < 2:
            continue
        difference = np.abs(a.mean(axis=0) - b.mean(axis=0))
        variances = a.var(axis=0, ddof=1), b.var(axis=0, ddof=1)
        for channel, name in enumerate(("red", "green", "blue")):
            variance, other_variance = variances[0][channel], variances[1][channel]
            if variance + other_variance == 0:
                continue  # all images have the same mean, as drawings may have; a test of means says nothing
            effect = difference[channel] / math.sqrt((variance + other_variance) / 2)
            error, other_error = variance / len(a), other_variance / len(b)
            freedom = (error + other_error) ** 2 / (error**2 / (len(a) - 1) + other_error**2 / (len(b) - 1))
            probability = 2 * float(stdtr(freedom, -difference[channel] / math.sqrt(error + other_error)))
            if _is_drift(effect, probability, dataset):
                yield Issue(
                    f"{split} and {other_split}",
                    f"differ in their mean {name}, {a[:, channel].mean():.1f} and {b[:, channel].mean():.1f}, by "
                    f"{number(effect, 2)} standard deviations",
                )


def class_drift(inspection: Inspection, dataset: Dataset) -> Iterator[Issue]:
    """Splits with different frequencies of the classes: the chi-square test of homogeneity, and Cramér's V."""
    from scipy.special import chdtrc  # not scipy.stats; see channel_drift

    for (split, a), (other_split, b) in combinations(
        zip(inspection.folders, inspection.class_counts(), strict=True), 2
    ):
        table = np.stack([a, b])[:, a + b > 0]
        total = table.sum()
        if not table.sum(axis=1).all() or table.shape[1] < 2:
            continue
        expected = np.outer(table.sum(axis=1), table.sum(axis=0)) / total
        chi_square = ((table - expected) ** 2 / expected).sum()
        effect = math.sqrt(chi_square / total)  # Cramér's V of a table of two rows
        if _is_drift(effect, float(chdtrc(table.shape[1] - 1, chi_square)), dataset):
            shares = np.abs(a / a.sum() - b / b.sum())
            worst = int(shares.argmax())
            yield Issue(
                f"{split} and {other_split}",
                f"differ in the frequencies of their classes, Cramér's V {number(effect, 2)}, most in "
                f"{inspection.classes[worst]}: {percent(a[worst] / a.sum(), 1)} and {percent(b[worst] / b.sum(), 1)}",
            )


CHECKS: Mapping[str, Check] = {
    check.__name__: check
    for check in (
        missing_folder,
        unsafe_file,
        misplaced_file,
        empty_class,
        class_set,
        class_count,
        folder_size,
        unreadable_image,
        converted_image,
        blank_image,
        class_imbalance,
        exact_duplicate,
        leakage,
        label_conflict,
        near_duplicate,
        near_leakage,
        channel_drift,
        class_drift,
    )
}


def _filled(inspection: Inspection) -> list[ImageFolder]:
    """The folders that are not missing or empty, for these have their issue already."""
    return [folder for folder in inspection.all_folders if folder.classes]


def _used(inspection: Inspection, dataset: Dataset) -> NDArray[np.int64]:
    """How many images of each folder and class are used, shape (folders, classes).

    Unreadable ones count only if they are an error, because then one error is enough.
    """
    used = inspection.readable | (dataset.checks.severity("unreadable_image") == "error")
    counts = np.zeros((len(inspection.all_folders), len(inspection.classes)), np.int64)
    np.add.at(counts, (inspection.folder_of[used], inspection.labels[used]), 1)
    return counts


def _refused(inspection: Inspection, check: str) -> Iterator[Issue]:
    for folder in inspection.all_folders:
        for refused in folder.refused:
            if refused.check == check:
                yield Issue(refused.name, refused.reason)


def _by_image(inspection: Inspection, problems: Mapping[int, str]) -> Iterator[Issue]:
    for row, problem in problems.items():
        yield Issue(inspection.image_names[row], problem)


def _pairs(inspection: Inspection, pairs: NDArray[np.int64], problem: str) -> Iterator[Issue]:
    """An issue for the first image of each pair; ``problem`` has a placeholder for the second one's name."""
    for row, other in pairs:
        partner = inspection.image_names[other]
        yield Issue(inspection.image_names[row], problem.format(partner), partner)


def _copies(
    inspection: Inspection,
    dataset: Dataset,
    column: int,
    related: Callable[[NDArray[np.int64], NDArray[np.int64]], NDArray[np.bool_]],
    where: str = "",
) -> Iterator[Issue]:
    """An issue for each image that has the pixels of a ``related`` other one; those equal at full size come first.

    Args:
        column: the other image's column of :attr:`Inspection.copies`, :data:`LAST` or :data:`FIRST`.
        where: what the issue adds about the other image.
    """
    full_size, resized = (
        copies[related(copies[:, 0], copies[:, column])][:, [0, column]]
        for copies in (inspection.full_size_copies, inspection.copies)
    )
    resized = resized[~np.isin(resized[:, 0], full_size[:, 0])]
    yield from _pairs(inspection, full_size, f"has the pixels of {{}}{where}")
    at_size = f"{dataset.image_size}x{dataset.image_size}"
    yield from _pairs(inspection, resized, f"has at {at_size} the pixels of {{}}{where}; at full size they differ")


def _means_by_split(inspection: Inspection) -> list[tuple[str, NDArray[np.float64]]]:
    return [
        (split, inspection.images.means[inspection.readable & (inspection.split_of == index)].astype(np.float64))
        for index, split in enumerate(inspection.folders)
    ]


def _is_drift(effect: float, probability: float, dataset: Dataset) -> bool:
    return effect > dataset.thresholds.drift_effect and probability < dataset.thresholds.drift_significance


def _some(names: list[str]) -> str:
    more = f" and {len(names) - NAMED_CLASSES} more" if len(names) > NAMED_CLASSES else ""
    return ", ".join(names[:NAMED_CLASSES]) + more
