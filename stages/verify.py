"""verify: checks the images and packs them into the three splits that all later stages read.

Reads the folders, or zips of folders, that ``params.yaml`` names under ``dataset``. Writes

- ``data/verified/{train,validation,test}/``, the splits (see ``stages/splits/packed.py``),
- ``metrics/dataset.json``, the numbers of images and of warnings,
- ``metrics/dataset_warnings.csv``, the warnings with the names of the files; of many of a kind a sample,
- ``plots/dataset/``, samples of each class, the number of images of each, and some pairs of near duplicates.

A broken file, a class that is missing from one folder, or a test image among the training images does not stop a
training; it only makes its accuracy wrong. So all images first pass the checks of ``stages/dataset/checks.py``. If one
of severity ``error`` finds something, ``data/failures.csv`` lists all findings, warnings too, and no output is written.
The user's files are only read.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from stages import parameters
from stages.common import parameter_file
from stages.common.console import UserError, progress, run_stage
from stages.common.files import all_or_none, write_csv, write_figure
from stages.common.locks import one_stage_at_a_time
from stages.common.parameter_file import Excerpt
from stages.dataset import checks, metrics, near_pairs
from stages.dataset.checks import Issue, Outcome
from stages.dataset.decoding import Decoded, decode, tasks_of
from stages.dataset.division import divided, groups_by_name
from stages.dataset.image_folders import ImageFolder, list_images
from stages.dataset.inspection import Inspection
from stages.dataset.near_pairs import FoundPair
from stages.dataset.settings import FETCHED, Dataset
from stages.splits import packed
from stages.splits.packed import Resize

VERIFIED = Path("data/verified")
METRICS = Path("metrics/dataset.json")
WARNINGS = Path("metrics/dataset_warnings.csv")
PLOTS = Path("plots/dataset")
FAILURES = Path("data/failures.csv")

PRINTED_ISSUES = 3  # of each check
BYTES_A_PROCESS = 2**20  # of image files; fewer are decoded before another process has started


class Settings(Excerpt):
    dataset: Dataset


def verify() -> None:
    parameters.check()
    FAILURES.unlink(missing_ok=True)  # an earlier run's, which say nothing of this one
    settings = parameter_file.load(Settings)
    dataset = settings.dataset
    _keep_images_out_of_git(dataset.root)
    folders = _list_folders(dataset)
    groups = groups_by_name(folders["train"], dataset)  # before the images are decoded, which takes longest
    with all_or_none() as place:
        parts = {split: place(VERIFIED / split) for split in folders}
        images = _decode(folders, parts, dataset)
        inspection = divided(Inspection(folders, images, dataset.thresholds), groups, dataset)
        outcomes = checks.run(inspection, dataset)
        _stop_at_failures(inspection, dataset, outcomes)
        _pack(inspection, parts, dataset.resize)
        plots = place(PLOTS)
        _draw(inspection, parts["train"], plots)
        _show_near_pairs(outcomes, parts, plots)
        _write_metrics(inspection, outcomes, place(METRICS), place(WARNINGS))
    _print_warnings(outcomes)


def _keep_images_out_of_git(root: str) -> None:
    """Warn if ``dvc exp run`` would commit the images, as it does with deps that neither DVC tracks nor Git ignores.

    Raises:
        UserError: this is such an experiment.
    """
    listing = ["git", "ls-files", "--others", "--exclude-standard", "--exclude=*.dvc", "--exclude=.gitignore"]
    command = [*listing, "--directory", "--no-empty-directory", "--", root]
    if shutil.which("git") and subprocess.run(command, capture_output=True, check=False).stdout:
        problem = f"dataset.root: an experiment commits the images of {root} into Git; run `dvc add {root}` and commit"
        if "DVC_EXP_NAME" in os.environ:
            raise UserError(problem)
        print(f"verify: warning, {problem}")


def _list_folders(dataset: Dataset) -> dict[str, tuple[ImageFolder, ...]]:
    root = Path(dataset.root)
    if not root.is_dir():
        do = "run `dvc repro fetch`" if dataset.root == FETCHED else "bring it, or correct it in params.yaml"
        raise UserError(f"dataset.root: {root} is no folder; {do}")
    return {split: tuple(list_images(root, name) for name in names) for split, names in dataset.splits.items()}


def _decode(folders: Mapping[str, tuple[ImageFolder, ...]], parts: Mapping[str, Path], dataset: Dataset) -> Decoded:
    """Allocate each split and fill it with its images."""
    import joblib  # not at the top, because the decoding processes import this file

    tasks = []
    for split, part in parts.items():
        packed.allocate_images(part, sum(len(folder.members) for folder in folders[split]), dataset.image_size)
        tasks += tasks_of(folders[split], part, dataset.image_size, dataset.resize)
    size = sum(folder.size for split_folders in folders.values() for folder in split_folders)
    processes = min(joblib.cpu_count(), 1 + size // BYTES_A_PROCESS, max(1, len(tasks)))
    total = sum(len(task.members) for task in tasks)
    started = time.monotonic()
    with progress("verify", total, "images") as bar:
        images = decode(tasks, processes, bar.advance)
    seconds = max(time.monotonic() - started, 1e-3)
    print(f"verify: {total:,} images in {seconds:.1f} s, {total / seconds:,.0f} a second, processes: {processes}")
    return images


def _stop_at_failures(inspection: Inspection, dataset: Dataset, outcomes: Sequence[Outcome]) -> None:
    """If a check failed, write all findings to :data:`FAILURES` and raise a :class:`UserError` that sums them up.

    It includes warnings, because one may be the reason: an image in the wrong place is missing in the right one.
    """
    failed = [outcome for outcome in outcomes if outcome.severity == "error" and outcome.found]
    splits_of_images = set(inspection.split_of[inspection.readable].tolist())
    empty = [split for index, split in enumerate(inspection.folders) if index not in splits_of_images]
    if not failed and not empty:
        return
    summary = f"the dataset fails {len(failed)} of {len(outcomes)} checks"
    lines = [summary if failed else f"dataset.{empty[0]}: its folders hold no image that can be used"]
    told = failed + [outcome for outcome in outcomes if outcome.severity == "warning" and outcome.found]
    if told:
        rows = ((o.check, *issue) for o in told for issue in checks.CHECKS[o.check](inspection, dataset))
        write_csv(FAILURES, ("check", *Issue._fields), rows)
        lines[0] += f"; every finding is in {FAILURES}"
    for outcome in told:
        printed, severity = (PRINTED_ISSUES, "") if outcome.severity == "error" else (1, "warning, ")
        examples = "; ".join(f"{subject} {problem}" for subject, problem, _ in outcome.sample[:printed])
        more = " ..." * (outcome.found > printed)
        lines.append(f"  {outcome.check} ({severity}{outcome.found:,}): {examples}{more}")
    raise UserError("\n".join(lines))


def _pack(inspection: Inspection, parts: Mapping[str, Path], resize: Resize) -> None:
    decoded = [sum(len(folder.members) for folder in folders) for folders in inspection.folders.values()]
    first_rows = np.cumsum([0, *decoded])
    # The training images come last, because validation and test may be divided off them.
    for index, part in reversed(list(enumerate(parts.values()))):
        rows = np.flatnonzero(inspection.readable & (inspection.split_of == index))
        if not decoded[index]:
            packed.copy_images(parts["train"], rows, part)
        elif len(rows) < decoded[index]:
            packed.keep_images(part, rows - first_rows[index])
        sizes = np.bincount(inspection.folder_of[rows], minlength=len(inspection.all_folders))
        names = [inspection.image_names[row] for row in rows]
        packed.complete(
            part,
            inspection.labels[rows],
            inspection.classes,
            sizes[sizes > 0].tolist(),
            names,
            inspection.images.depth,
            resize,
        )


def _draw(inspection: Inspection, train: Path, plots: Path) -> None:
    # Not at the top, because the decoding processes import this file, and matplotlib loads slowest.
    from stages.dataset import figures

    split = packed.load(train)
    counts = dict(zip(inspection.folders, inspection.class_counts(), strict=True))
    write_figure(plots / "samples.png", figures.samples(split.images, split.labels, split.classes))
    write_figure(plots / "class_counts.png", figures.class_counts(counts, inspection.classes))


def _show_near_pairs(outcomes: Sequence[Outcome], parts: Mapping[str, Path], plots: Path) -> None:
    listed = [
        FoundPair(warning.check, (issue.subject, issue.partner))
        for warning in _warnings(outcomes)
        if warning.check in near_pairs.CHECKS
        for issue in warning.sample
    ]
    splits = (packed.load(part) for part in parts.values())
    pairs = near_pairs.sample(listed, ((split.image_names, split.images) for split in splits))
    near_pairs.write(plots / "near_duplicates.json", pairs)


def _write_metrics(inspection: Inspection, outcomes: Sequence[Outcome], target: Path, warnings_list: Path) -> None:
    found = {outcome.check: outcome.found for outcome in outcomes}
    warnings = _warnings(outcomes)
    images = dict(zip(inspection.folders, inspection.class_counts().sum(axis=1).tolist(), strict=True))
    headline = {
        **{f"{split}_images": count for split, count in images.items()},
        "classes": len(inspection.classes),
        "exact_duplicates": found["exact_duplicate"],
        "leaked_images": found["leakage"],
        "near_duplicates": found["near_duplicate"],
        "near_leaked_images": inspection.near_leaked_images,
        "near_leaked_test_images": inspection.near_leaked_test_images,
        "converted_images": found["converted_image"],
        "warnings": {"total": sum(w.found for w in warnings), **{w.check: w.found for w in warnings}},
    }
    metrics.write(target, headline)
    rows = ((w.check, *issue, len(w.sample), w.found) for w in warnings for issue in w.sample)
    write_csv(warnings_list, ("check", *Issue._fields, "listed", "found"), rows)


def _print_warnings(outcomes: Sequence[Outcome]) -> None:
    for warning in _warnings(outcomes):
        listed = f", a sample of {len(warning.sample):,} listed" if warning.found > len(warning.sample) else ""
        subject, problem, _ = warning.sample[0]
        more = " ..." * (warning.found > 1)
        print(f"verify: warning, {warning.check} ({warning.found:,}{listed} in {WARNINGS}): {subject} {problem}{more}")


def _warnings(outcomes: Sequence[Outcome]) -> list[Outcome]:
    return [outcome for outcome in outcomes if outcome.severity == "warning" and outcome.found]


if __name__ == "__main__":
    run_stage("verify", one_stage_at_a_time()(verify))
