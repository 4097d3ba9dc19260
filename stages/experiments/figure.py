"""The runs of a sweep as a picture: a dot a run, a row a setting."""

from __future__ import annotations

from collections.abc import Sequence

from stages.common.drawing import ConstrainedLayoutEngine, Figure, FigureCanvasAgg, drawable
from stages.experiments.table import Table

WIDTH = 12.0  # inches
BLUE, ORANGE = "#0072B2", "#D55E00"


def dots(tables: Sequence[Table]) -> Figure:
    """A panel a metric; beside the dots of a setting stands its mean with the 95 % interval."""
    settings = [summary.setting for summary in tables[0].summaries]
    figure = Figure(figsize=(WIDTH, 1.5 + 0.6 * len(settings)), layout=ConstrainedLayoutEngine())
    FigureCanvasAgg(figure)
    for axes, one in zip(figure.subplots(1, len(tables), sharey=True, squeeze=False)[0], tables, strict=True):
        for row, summary in enumerate(one.summaries):
            values = list(one.values[summary.setting].values())
            axes.plot(values, [row] * len(values), "o", color=BLUE, alpha=0.6)
            if summary.interval:
                axes.plot(summary.interval, [row + 0.25] * 2, "-", color=ORANGE, linewidth=2)
            axes.plot([summary.mean], [row + 0.25], "D", color=ORANGE)
        axes.set_yticks(range(len(settings)), ["\n".join(map(drawable, one.split(", "))) for one in settings])
        axes.set_ylim(len(settings) - 0.5, -0.5)
        axes.set_xlabel(one.metric)
        axes.grid(axis="x", alpha=0.3)
    figure.suptitle("Blue: one run each. Orange: the mean and its 95 % interval.", fontsize="medium")
    return figure
