"""compare: whether two runs differ on the test split, or chance in the choice of its images explains it.

Called as ``python -m stages.compare A B`` with Git revisions, names of DVC's experiments or the word ``workspace``.
Reads of both the predictions on the test split, the test's metrics, the parameters and ``dvc.lock``; prints, and writes
nothing.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, TypeVar

import dvc.api  # type: ignore[import-untyped]
import numpy as np
from dvc.exceptions import PathMissingError  # type: ignore[import-untyped]

from stages.common import parameter_file, repository
from stages.common.console import UserError, run_stage
from stages.common.dotted import flat
from stages.common.rounding import number
from stages.evaluation import differences, predictions, results
from stages.evaluation.differences import Change, Differences

PREDICTIONS, METRICS, PARAMETERS = "plots/test/predictions.csv", "metrics/test.json", "params.yaml"
LOCK, TEST_SPLIT = "dvc.lock", "data/verified/test"
CHANGE_PIXELS = ("dataset.image_size", "dataset.resize")  # of the same images
WITHOUT_INTERVAL = ("loss", "auc_macro")  # the predicted classes alone do not give these
MOST_IMAGES = 10  # that are named
SIGNIFICANCE = 0.05
Parsed = TypeVar("Parsed")


@dataclass(frozen=True)
class Run:
    """What a revision says of its run.

    Attributes:
        images: the names of the test images.
        actual: the class of each.
        predicted: the class that each is predicted as.
        figures: of ``metrics/test.json``, by name.
        settings: the parameters by their dotted names.
        split: a checksum of the test split with its pixels; None if ``dvc.lock`` has none.
    """

    name: str
    images: tuple[str, ...]
    actual: tuple[str, ...]
    predicted: tuple[str, ...]
    figures: Mapping[str, float | None]
    settings: Mapping[str, Any]
    split: str | None


def compare(first_name: str, second_name: str) -> None:
    first, second = load(first_name), load(second_name)
    _refuse_other_test_data(first, second)
    if first.predicted == second.predicted:
        print(
            f"{first.name} and {second.name} predict the same class for each of the {len(first.images):,} test images."
        )
        if any(first.figures.get(name) != second.figures.get(name) for name in WITHOUT_INTERVAL):
            rows = _rows_without_interval(first, second)
            _print_table([("", first.name, second.name, "difference", ""), *rows])
    else:
        _print_differences(first, second)
    _print_parameters(first, second)


# ---- reading ----


def load(name: str) -> Run:
    """Read what the revision, experiment or workspace ``name`` says of its run.

    Raises:
        UserError: there is no such revision, or it lacks a file, or a file is not what ``test`` writes.
    """
    images, actual, predicted = zip(*_parsed(PREDICTIONS, name, predictions.parse), strict=True)
    figures = _parsed(METRICS, name, results.parse_figures)
    settings = _parsed(PARAMETERS, name, lambda text: parameter_file.parse(text.encode(), PARAMETERS))
    return Run(name, images, actual, predicted, figures, dict(flat(settings)), _checksum_of_split(name))


def _checksum_of_split(name: str) -> str | None:
    try:
        lock = parameter_file.parse(_text(LOCK, name).encode(), LOCK)
        (checksum,) = (each["md5"] for each in lock["stages"]["test"]["deps"] if each["path"] == TEST_SPLIT)
        return str(checksum)
    except (UserError, LookupError, TypeError, ValueError):
        return None


def _parsed(path: str, name: str, parse: Callable[[str], Parsed]) -> Parsed:
    text = _text(path, name)
    try:
        return parse(text)
    except ValueError as error:
        advice = "write it anew with `dvc repro test`"
        raise UserError(f"{path} of {name} is not what `test` writes ({error}); {advice}") from None
    except UserError as error:
        raise UserError(f"{path} of {name} cannot be read: {error}") from None


def _text(path: str, name: str) -> str:
    if not name:
        raise UserError("a name is empty; give `workspace`, a Git revision or an experiment")
    try:
        if name == "workspace":
            return str(dvc.api.read(path, encoding="utf-8"))
        return str(dvc.api.read(repository.folder() + path, rev=name, encoding="utf-8"))
    except UnicodeDecodeError as error:
        raise UserError(f"{path} of {name} is no text in UTF-8: {error}") from None
    except Exception as error:  # of DVC, of the libraries by which it reads Git, or for a tree of neither
        advice = None if isinstance(error, (FileNotFoundError, PathMissingError)) else repository.shortcoming()
        advice = advice or "give `workspace`, a Git revision or an experiment, with the files of a `dvc repro` in it"
        raise UserError(f"cannot read {path} of {name}: {error}; {advice}") from None


def _refuse_other_test_data(first: Run, second: Run) -> None:
    same_pixels = all(first.settings.get(key) == second.settings.get(key) for key in CHANGE_PIXELS)
    if first.images != second.images:
        what = "images"
    elif first.actual != second.actual:
        what = "classes"
    elif same_pixels and None not in (first.split, second.split) and first.split != second.split:
        what = "pixels of images of the same names"
    else:
        what = None
    if what:
        raise UserError(
            f"{first.name} and {second.name} were tested on other data (the {what} differ), so their figures cannot be "
            "compared; give runs with the same test split"
        )


# ---- printing ----


def _print_differences(first: Run, second: Run) -> None:
    classes = sorted({*first.actual, *first.predicted, *second.predicted})
    index_of = {name: index for index, name in enumerate(classes)}
    actual, first_predicted, second_predicted = (
        np.array([index_of[name] for name in names]) for names in (first.actual, first.predicted, second.predicted)
    )
    found = differences.between(actual, first_predicted, second_predicted, classes)
    print(in_a_sentence(found, first.name, second.name), end="\n\n")

    clear = sorted((each for each in found.f1 if each.clear), key=lambda each: -each.difference)
    header = ("", first.name, second.name, "difference", "95 % interval")
    changes = (found.accuracy, found.f1_macro, *(_of_class(each) for each in clear))
    _print_table([header, *map(_row, changes[:2]), *_rows_without_interval(first, second), *map(_row, changes[2:])])
    print(
        f"Of {len(set(first.actual))} classes, {len(clear)} changed clearly (the interval of the difference of F1 "
        "leaves out 0; chance alone lets 1 of 20 do so).\n"
    )

    changed = len(found.changed)
    otherwise = changed - found.only_second_right - found.only_first_right
    print(
        f"{changed:,} {'image is' if changed == 1 else 'images are'} predicted otherwise: "
        f"{found.only_second_right:,} now right, {found.only_first_right:,} now wrong, {otherwise:,} wrong in another "
        "way. The first of them:"
    )
    listed = found.changed[:MOST_IMAGES]
    rows = [(first.images[i], first.actual[i], first.predicted[i], second.predicted[i]) for i in listed]
    _print_table([("image", "actual", first.name, second.name), *rows])


def in_a_sentence(found: Differences, first: str, second: str) -> str:
    """What changed and whether chance explains it, for readers of one line."""
    in_points = partial(number, decimals=2, most=4, perfect=100.0, sign="+")
    points, interval = 100 * found.accuracy.difference, found.accuracy.interval
    verdict = (
        "more than chance in the choice of the images explains"
        if found.p_value < SIGNIFICANCE
        else "which chance in the choice of the images may explain"
    )
    return (
        f"From {first} to {second} accuracy on the test changes by {in_points(points)} points (95 % interval "
        f"{in_points(100 * interval.low)} to {in_points(100 * interval.high)}), {verdict} (McNemar's exact test: p = "
        f"{found.p_value:.2g})."
    )


def _of_class(change: Change) -> Change:
    return replace(change, name=f"F1 of {change.name}")


def _row(change: Change) -> tuple[str, ...]:
    interval = f"{_change(change.interval.low)} to {_change(change.interval.high)}"
    return change.name, number(change.first, 4), number(change.second, 4), _change(change.difference), interval


def _change(difference: float) -> str:
    return number(difference, 4, sign="+")


def _rows_without_interval(first: Run, second: Run) -> Iterator[tuple[str, ...]]:
    for name in WITHOUT_INTERVAL:
        before, after = first.figures.get(name), second.figures.get(name)
        if before is not None and after is not None:
            yield name, number(before, 4), number(after, 4), _change(after - before), ""


def _print_parameters(first: Run, second: Run) -> None:
    names = dict.fromkeys([*first.settings, *second.settings])
    absent = "absent"
    pairs = [(name, first.settings.get(name, absent), second.settings.get(name, absent)) for name in names]
    rows = [(name, str(before), str(after)) for name, before, after in pairs if before != after]
    if rows:
        _print_table([("parameter", first.name, second.name), *rows])
    else:
        print("The parameters are the same.")


def _print_table(rows: Sequence[tuple[str, ...]]) -> None:
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for row in rows:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
    print()


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m stages.compare", description="Do two runs differ on the test?")
    for name in ("A", "B"):
        parser.add_argument(name, help="a Git revision, the name of an experiment, or: workspace")
    arguments = parser.parse_args()
    run_stage("compare", lambda: compare(arguments.A, arguments.B))


if __name__ == "__main__":
    main()
