"""The runs of a sweep as a picture: a dot a run, a row a setting."""

from __future__ import annotations

from collections.abc import Sequence

from stages.common.drawing import BLUE, ORANGE, ConstrainedLayoutEngine, Figure, drawable
from stages.experiments.table import Table

WIDTH = 12.0  # inches
MAX_ROWS = 100  # more make a picture that nobody reads and, above a thousand, one that can't be drawn


def dots(tables: Sequence[Table]) -> Figure:
    """A panel a metric; beside the dots of a setting stands its mean with the 95 % interval.

    Of more than :data:`MAX_ROWS` settings the first are shown, which for a search are the best.
    """
    settings = list(dict.fromkeys(summary.setting for one in tables for summary in one.summaries))
    row_of = {setting: row for row, setting in enumerate(settings[:MAX_ROWS])}
    figure = Figure(figsize=(WIDTH, 1.5 + 0.6 * len(row_of)), layout=ConstrainedLayoutEngine())
    for axes, one in zip(figure.subplots(1, len(tables), sharey=True, squeeze=False)[0], tables, strict=True):
        for summary in one.summaries:
            if (row := row_of.get(summary.setting)) is None:
                continue
            values = list(one.values[summary.setting].values())
            axes.plot(values, [row] * len(values), "o", color=BLUE, alpha=0.6)
            if summary.interval:
                axes.plot(summary.interval, [row + 0.25] * 2, "-", color=ORANGE, linewidth=2)
            axes.plot([summary.mean], [row + 0.25], "D", color=ORANGE)
        axes.set_yticks(range(len(row_of)), ["\n".join(map(drawable, one.split(", "))) for one in row_of])
        axes.set_ylim(len(row_of) - 0.5, -0.5)
        axes.set_xlabel(one.metric)
        axes.grid(axis="x", alpha=0.3)
    title = "Blue: one run each. Orange: the mean and its 95 % interval."
    if len(settings) > len(row_of):
        title = f"The first {len(row_of)} of {len(settings)} settings. {title}"
    figure.suptitle(title, fontsize="medium")
    return figure
