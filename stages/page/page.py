"""The report as one page: what it shows in, HTML and Markdown out. It reads no file but its two templates.

Every value is escaped: a class may be called ``<script>``. The HTML holds its pictures, style and script and asks
nothing of a network; the Markdown, for a pull request, tells the same in less room and has no pictures.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import jinja2
import numpy as np
from markupsafe import Markup
from numpy.typing import NDArray
from PIL import Image

from stages.common.dotted import flat
from stages.common.rounding import number, percent
from stages.evaluation.history import Training
from stages.evaluation.intervals import Interval
from stages.evaluation.scores import Scores

MISTAKES = 16  # pictures of mistakes, the most confident ones
PICTURE_SIDE = 128  # pixels of a picture of an image, which the page shows as wide as 8rem, usually 128 pixels
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


@dataclass(frozen=True)
class Mistake:
    """An image, ``folder/class/file`` and uint8, shape (size, size, 3), and the wrong class that the model gives it."""

    name: str
    image: NDArray[np.uint8]
    actual: str
    predicted: str
    probability: float


class Metric(NamedTuple):
    """A metric on the test split: its name in words, its value, its 95 % interval; both None where undefined."""

    title: str
    value: float | None
    interval: Interval | None


@dataclass(frozen=True)
class Page:
    """All that the report shows.

    Attributes:
        settings: the parameters by section, nested as in ``params.yaml``.
        dataset: ``metrics/dataset.json``.
        layers: of the network: kind, output shape, parameters.
        intervals: the 95 % interval of each of :data:`METRICS`, None where it is undefined.
        curves, confusion, roc, reliability: drawn, as PNG.
        near_duplicates: some pairs: the check that found them, ``folder/class/file`` of both, both images.
        versions: of the main packages, by name.
    """

    settings: Mapping[str, Any]
    dataset: Mapping[str, Any]
    layers: Sequence[tuple[str, str, int]]
    training: Training
    findings_on_training: Sequence[str]
    scores: Scores
    intervals: Mapping[str, Interval | None]
    findings_on_test: Sequence[str]
    calibration_error: float
    curves: bytes
    confusion: bytes
    roc: bytes
    reliability: bytes
    mistakes: Sequence[Mistake]
    near_duplicates: Sequence[tuple[str, tuple[str, str], tuple[NDArray[np.uint8], NDArray[np.uint8]]]]
    versions: Mapping[str, str]

    @property
    def checks(self) -> list[tuple[str, str, int]]:
        """Name, severity and number of warnings of each check on the dataset."""
        warnings = self.dataset["warnings"]
        return [(name, level, warnings.get(name, 0)) for name, level in self.settings["dataset"]["checks"].items()]

    @property
    def parameters(self) -> dict[str, str]:
        """Each parameter by its full name, as one writes it in ``params.yaml``."""
        return {name: _in_yaml(value) for name, value in flat(self.settings)}

    @property
    def passed(self) -> int:
        """How many checks were asked and found nothing."""
        return sum(level != "off" and not found for _, level, found in self.checks)

    @property
    def metrics(self) -> list[Metric]:
        """The metrics on the test split, in the order of :data:`METRICS`."""
        return [self.metric(name) for name in METRICS]

    def metric(self, name: str) -> Metric:
        return Metric(METRICS[name], getattr(self.scores, name), self.intervals[name])


def as_html(page: Page) -> str:
    """One self-contained file."""
    return _TEMPLATES.get_template("report.html.jinja").render(page=page)


def as_markdown(page: Page) -> str:
    """The same in short, for a comment on a pull request."""
    return _TEMPLATES.get_template("report.md.jinja").render(page=page)


def most_confident_mistakes(
    images: NDArray[np.uint8],
    labels: NDArray[np.int32],
    probabilities: NDArray[np.float32],
    classes: Sequence[str],
    names: Sequence[str],
) -> list[Mistake]:
    """Up to :data:`MISTAKES` of the wrongly classified images, those with the highest probability first.

    Args:
        images: shape (n, size, size, 3), RGB; may be a memory map.
        labels: shape (n,), indices into ``classes``.
        probabilities: shape (n, classes).
        names: of the images.
    """
    predicted, confidence = probabilities.argmax(axis=1), probabilities.max(axis=1)
    wrong = np.flatnonzero(predicted != labels)
    worst = wrong[np.argsort(-confidence[wrong], kind="stable")][:MISTAKES]
    return [
        Mistake(names[row], images[row], classes[labels[row]], classes[predicted[row]], float(confidence[row]))
        for row in worst
    ]


def _image_uri(image: NDArray[np.uint8]) -> str:
    """``image``, shape (size, size, 3), RGB, as a PNG in a data URI, as large as it is shown at most."""
    written = io.BytesIO()
    shown = Image.fromarray(np.asarray(image))
    shown.thumbnail((PICTURE_SIDE, PICTURE_SIDE))
    shown.save(written, "PNG")
    return _png_uri(written.getvalue())


def _png_uri(png: bytes) -> str:
    return f"data:image/png;base64,{base64.b64encode(png).decode()}"


def _in_yaml(value: Any) -> str:
    if isinstance(value, tuple):
        return f"[{', '.join(str(inner) for inner in value)}]"
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    return str(value)


def _escaped_for_markdown(value: object) -> Markup:
    """``value`` to the letter: what has a meaning in Markdown or HTML gets a backslash."""
    return Markup(str(value).translate({ord(each): f"\\{each}" for each in MEANINGFUL_IN_MARKDOWN}))


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
    "image": _image_uri,
    "md": _escaped_for_markdown,
    "number": _number,
    "thousands": lambda count: f"{count:,}",
    "warnings": lambda found: f"{found:,} warning{'s' * (found != 1)}" if found else "nothing found",
    "percent": percent,
}
