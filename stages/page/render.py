"""Renders the report as one page, in HTML and in Markdown, from two templates.

Every value is escaped: a class may be called ``<script>``. The HTML holds its pictures, style and script and needs no
network. The Markdown, for a pull request, says the same in short, without pictures.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import jinja2
from markupsafe import Markup

from stages.common.dotted import flat
from stages.common.rounding import number, percent
from stages.dataset.near_pairs import NearPair
from stages.evaluation.mistakes import Mistake
from stages.evaluation.results import Interval, Results
from stages.model.history import Training
from stages.model.summary import Layer

METRICS = {
    "accuracy": "Accuracy",
    "loss": "Loss (cross-entropy, nats)",
    "precision_macro": "Precision, macro",
    "recall_macro": "Recall, macro",
    "f1_macro": "F1, macro",
    "precision_weighted": "Precision, weighted",
    "recall_weighted": "Recall, weighted",
    "f1_weighted": "F1, weighted",
    "auc_macro": "AUC, macro",
}
MEANINGFUL_IN_MARKDOWN = "\\`*_[]<>&|~$#"


class Metric(NamedTuple):
    """A metric on the test split: its name in words, its value and its 95 % interval, both None if undefined."""

    title: str
    value: float | None
    interval: Interval | None


@dataclass(frozen=True)
class Page:
    """All that the report shows.

    Attributes:
        settings: the parameters by section, nested as in ``params.yaml``.
        dataset: the content of ``metrics/dataset.json``.
        results: on the test split, with a figure for each of :data:`METRICS`.
        curves, confusion, roc, reliability: PNG pictures.
        versions: of the main packages, by name.
    """

    settings: Mapping[str, Any]
    dataset: Mapping[str, Any]
    layers: Sequence[Layer]
    training: Training
    findings_on_training: Sequence[str]
    results: Results
    findings_on_test: Sequence[str]
    calibration_error: float
    curves: bytes
    confusion: bytes
    roc: bytes
    reliability: bytes
    mistakes: Sequence[Mistake]
    near_duplicates: Sequence[NearPair]
    versions: Mapping[str, str]

    @property
    def checks(self) -> list[tuple[str, str, int]]:
        """Name, severity and number of warnings of each check on the dataset."""
        warnings = self.dataset["warnings"]
        return [(name, level, warnings.get(name, 0)) for name, level in self.settings["dataset"]["checks"].items()]

    def source(self, split: str) -> str:
        """Where the images of a split come from: folders, or a part of those of the training folders."""
        given = self.settings["dataset"][split]
        if isinstance(given, dict):
            return f"fold {given['fold']} of {given['folds']} of the training folders"
        return f"{given:g} of the training folders" if isinstance(given, float) else ", ".join(given)

    @property
    def parameters(self) -> dict[str, str]:
        """Each parameter by its full name, as written in ``params.yaml``."""
        return {name: _in_yaml(value) for name, value in flat(self.settings)}

    @property
    def passed(self) -> int:
        """How many checks are not off and found nothing."""
        return sum(level != "off" and not found for _, level, found in self.checks)

    @property
    def metrics(self) -> list[Metric]:
        """The metrics on the test split, in the order of :data:`METRICS`."""
        return [self.metric(name) for name in METRICS]

    def metric(self, name: str) -> Metric:
        return Metric(METRICS[name], self.results.figures[name], self.results.intervals[name])


def as_html(page: Page) -> str:
    """One self-contained file."""
    return _TEMPLATES.get_template("report.html.jinja").render(page=page)


def as_markdown(page: Page) -> str:
    """A short version, for a comment on a pull request."""
    return _TEMPLATES.get_template("report.md.jinja").render(page=page)


def _png_uri(png: bytes) -> str:
    return f"data:image/png;base64,{base64.b64encode(png).decode()}"


def _in_yaml(value: Any) -> str:
    if isinstance(value, tuple):
        return f"[{', '.join(str(inner) for inner in value)}]"
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    return str(value)


def _escaped_for_markdown(value: object) -> Markup:
    """``value`` with a backslash before characters that have a meaning in Markdown or HTML."""
    return Markup(str(value).translate({ord(each): f"\\{each}" for each in MEANINGFUL_IN_MARKDOWN}))


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'s' * (number != 1)}"


def _number(value: float | None) -> str:
    return "undefined" if value is None else number(value, 4)


_TEMPLATES = jinja2.Environment(
    loader=jinja2.FileSystemLoader(Path(__file__).parent),
    autoescape=True,
    undefined=jinja2.StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
    keep_trailing_newline=True,
)
_TEMPLATES.filters |= {
    "png": _png_uri,
    "md": _escaped_for_markdown,
    "number": _number,
    "thousands": lambda count: f"{count:,}",
    "count": _count,
    "warnings": lambda found: _count(found, "warning") if found else "nothing found",
    "percent": percent,
}
