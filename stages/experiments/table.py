"""The runs of a sweep as a table: each setting by itself, and the differences between settings with the same seeds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from scipy import stats

from stages.common.rounding import number

CONFIDENCE = 0.95


@dataclass(frozen=True)
class Summary:
    """What runs of one setting come to.

    Attributes:
        deviation: the standard deviation over the runs; None of a single one.
        interval: of the mean, with 95 % confidence (Student's t); None of a single run.
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
    """A setting minus the first one, over the seeds that both have.

    Attributes:
        pairs: of runs with the same seed.
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
    """One metric of all settings; ``values`` are by setting and seed."""

    metric: str
    values: dict[str, dict[int, float]]
    summaries: list[Summary]
    differences: list[Difference]


def table(metric: str, values: dict[str, dict[int, float]]) -> Table:
    """Summarise ``values``, the metric by setting and seed; a setting without runs is passed over."""
    present = {setting: by_seed for setting, by_seed in values.items() if by_seed}
    first = next(iter(values))
    differences = [
        _difference(setting, first, by_seed, values[first])
        for setting, by_seed in present.items()
        if setting != first and values[first].keys() & by_seed.keys()
    ]
    return Table(metric, present, [_summary(*each) for each in present.items()], differences)


def _summary(setting: str, by_seed: dict[int, float]) -> Summary:
    values = np.array(list(by_seed.values()))
    deviation = float(values.std(ddof=1)) if len(values) > 1 else None
    return Summary(
        setting,
        len(values),
        float(values.mean()),
        deviation,
        _interval(values),
        float(values.min()),
        float(values.max()),
    )


def _difference(setting: str, first: str, by_seed: dict[int, float], first_by_seed: dict[int, float]) -> Difference:
    differences = np.array([value - first_by_seed[seed] for seed, value in by_seed.items() if seed in first_by_seed])
    p = None
    if len(differences) > 1 and np.ptp(differences) > 0:
        p = float(stats.ttest_1samp(differences, 0).pvalue)
    return Difference(setting, first, len(differences), float(differences.mean()), _interval(differences), p)


def _interval(values: np.ndarray[Any, Any]) -> tuple[float, float] | None:
    if len(values) < 2:
        return None
    half = float(stats.t.ppf((1 + CONFIDENCE) / 2, len(values) - 1) * values.std(ddof=1) / np.sqrt(len(values)))
    return float(values.mean()) - half, float(values.mean()) + half


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
        lines += [f"Differences from *{one.differences[0].against}*, paired by seed:", ""]
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
    widths = [max(len(row[column]) for row in [header, *rows]) for column in range(len(header))]
    cells = [" | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in [header, *rows]]
    rule = "|".join("-" * (width + 2) for width in widths)
    return [f"| {cells[0]} |", f"|{rule}|", *(f"| {cell} |" for cell in cells[1:]), ""]


def _range(limits: tuple[float, float] | None, sign: Any = "") -> str:
    return "-" if limits is None else " to ".join(number(limit, 4, sign=sign) for limit in limits)


def _or_dash(value: float | None) -> str:
    return "-" if value is None else number(value, 4)
