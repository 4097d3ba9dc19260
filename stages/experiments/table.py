"""The runs of a sweep as a table: each setting by itself, and the differences between settings with the same seeds.

The trainings of k folds share most of their images, so their results are not independent, and the textbook's interval
would be too narrow. It is widened: the variance of a mean of n runs is taken as 1 / n + 1 / (k - 1) of their variance
(Nadeau and Bengio, *Inference for the Generalization Error*, 2003; for repeated folds Bouckaert and Frank, *Evaluating
the Replicability of Significance Tests for Comparing Learning Algorithms*, 2004).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
from scipy import stats

from stages.common.rounding import number

CONFIDENCE = 0.95


@dataclass(frozen=True)
class Summary:
    """What runs of one setting come to.

    Attributes:
        deviation: the standard deviation over the runs; None of a single one.
        interval: of the mean, with 95 % confidence (Student's t, over folds corrected); None of a single run.
    """

    setting: str
    runs: int
    mean: float
    deviation: float | None
    interval: tuple[float, float] | None
    least: float
    most: float


@dataclass(frozen=True)
class Difference:
    """A setting minus the first one, over the seeds and folds that both have.

    Attributes:
        pairs: of runs with the same seed and fold.
        interval: of the mean difference, with 95 % confidence (Student's t); None of a single pair.
        p: how often chance alone shows such a difference (paired t-test); None of a single pair, or where all
            differences are equal.
    """

    setting: str
    against: str
    pairs: int
    mean: float
    interval: tuple[float, float] | None
    p: float | None


@dataclass(frozen=True)
class Table:
    """One metric of all settings.

    Attributes:
        values: by setting and repetition, which is the seed, or the seed and the fold.
        folds: how many there are, None if the runs are not over folds.
    """

    metric: str
    values: dict[str, dict[str, float]]
    summaries: list[Summary]
    differences: list[Difference]
    folds: int | None = None


def table(metric: str, values: dict[str, dict[str, float]], folds: int | None = None, compared: bool = True) -> Table:
    """Summarise ``values``, the metric by setting and repetition; a setting without runs is passed over.

    Args:
        folds: the number of folds over which the runs go.
        compared: whether to compare all settings with the first.
    """
    present = {setting: runs for setting, runs in values.items() if runs}
    first = next(iter(values))
    differences = [
        _difference(setting, first, runs, values[first], folds)
        for setting, runs in present.items()
        if compared and setting != first and values[first].keys() & runs.keys()
    ]
    return Table(metric, present, [_summary(*each, folds) for each in present.items()], differences, folds)


def ranked(values: dict[str, dict[str, float]], best: Literal["highest", "lowest"]) -> list[str]:
    """The settings that have runs, by the mean of their values, the best one first."""
    present = [setting for setting, runs in values.items() if runs]
    return sorted(present, key=lambda one: np.mean(list(values[one].values())), reverse=best == "highest")


def _summary(setting: str, runs: dict[str, float], folds: int | None) -> Summary:
    values = np.array(list(runs.values()))
    deviation = _deviation(values) if len(values) > 1 else None
    return Summary(
        setting,
        len(values),
        float(values.mean()),
        deviation,
        _interval(values, folds),
        float(values.min()),
        float(values.max()),
    )


def _deviation(values: np.ndarray[Any, Any]) -> float:
    """The standard deviation; that of equal values would not always be 0 in floating point."""
    return float(values.std(ddof=1)) if np.ptp(values) > 0 else 0.0


def _difference(
    setting: str, first: str, runs: dict[str, float], first_runs: dict[str, float], folds: int | None
) -> Difference:
    # Rounded to more digits than a metric has: equal differences would differ in the last bit, and their p be nearly 0.
    differences = np.array([round(value - first_runs[name], 12) for name, value in runs.items() if name in first_runs])
    p = None
    if len(differences) > 1 and np.ptp(differences) > 0:
        t = abs(differences.mean()) / _standard_error(differences, folds)
        p = float(2 * stats.t.sf(t, len(differences) - 1))
    return Difference(setting, first, len(differences), float(differences.mean()), _interval(differences, folds), p)


def _interval(values: np.ndarray[Any, Any], folds: int | None) -> tuple[float, float] | None:
    if len(values) < 2:
        return None
    half = float(stats.t.ppf((1 + CONFIDENCE) / 2, len(values) - 1)) * _standard_error(values, folds)
    return float(values.mean()) - half, float(values.mean()) + half


def _standard_error(values: np.ndarray[Any, Any], folds: int | None) -> float:
    """Of the mean."""
    shared = 1 / (folds - 1) if folds else 0  # validation images to training images
    return float(values.std(ddof=1) * np.sqrt(1 / len(values) + shared))


def markdown(tables: Sequence[Table]) -> str:
    """The tables as Markdown."""
    return "\n".join(line for one in tables for line in _lines(one))


def as_json(tables: Sequence[Table]) -> list[dict[str, Any]]:
    """The tables, as JSON has them."""
    return [asdict(one) for one in tables]


def _lines(one: Table) -> list[str]:
    lines = [f"## {one.metric}", ""]
    lines += _rows(
        ("setting", "runs", "mean", "sd", "95 % interval of the mean", "range"),
        [
            (each.setting, str(each.runs), number(each.mean, 4), _or_dash(each.deviation), _range(each.interval),
             _range((each.least, each.most)))
            for each in one.summaries
        ],
    )  # fmt: skip
    if one.differences:
        pairing = "seed and fold" if one.folds else "seed"
        lines += [f"Differences from *{one.differences[0].against}*, paired by {pairing}:", ""]
        lines += _rows(
            ("setting", "pairs", "mean difference", "95 % interval", "p (paired t-test)"),
            [
                (each.setting, str(each.pairs), number(each.mean, 4, sign="+"), _range(each.interval, "+"),
                 "-" if each.p is None else f"{each.p:.2g}")
                for each in one.differences
            ],
        )  # fmt: skip
    return lines


def _rows(header: tuple[str, ...], rows: list[tuple[str, ...]]) -> list[str]:
    """A table of Markdown whose columns line up on a terminal too."""
    rows = [tuple(" ".join(cell.split()).replace("|", "\\|") for cell in row) for row in rows]
    widths = [max(len(row[column]) for row in [header, *rows]) for column in range(len(header))]
    cells = [" | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in [header, *rows]]
    rule = "|".join("-" * (width + 2) for width in widths)
    return [f"| {cells[0]} |", f"|{rule}|", *(f"| {cell} |" for cell in cells[1:]), ""]


def _range(limits: tuple[float, float] | None, sign: Any = "") -> str:
    return "-" if limits is None else " to ".join(number(limit, 4, sign=sign) for limit in limits)


def _or_dash(value: float | None) -> str:
    return "-" if value is None else number(value, 4)
