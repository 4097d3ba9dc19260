"""report: what all stages found, on one page.

Reads the tables, sentences and pictures of the other stages, and the parameters. Writes ``plots/report.html``, and a
short form, ``metrics/report.md``. Opens no image of the dataset and no model.
"""

from __future__ import annotations

from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field

from stages import parameters
from stages.common import parameter_file
from stages.common.console import run_stage
from stages.common.files import all_or_none, write_text, written_by
from stages.common.locks import one_stage_at_a_time
from stages.common.parameter_file import Excerpt
from stages.dataset import metrics, near_pairs
from stages.evaluation import calibration, findings, mistakes, results
from stages.model import history, summary
from stages.page import render
from stages.page.render import Page

PACKAGES = ("tensorflow", "keras", "numpy", "scikit-learn", "scipy", "matplotlib", "pillow", "dvc")


class Settings(Excerpt):
    # The page shows these as they are in the file.
    seed: int
    dataset: dict[str, Any]
    model: dict[str, Any]
    train: dict[str, Any]
    validate_: Annotated[dict[str, Any], Field(alias="validate")]  # a model of pydantic has a method `validate`
    test: dict[str, Any]


def report() -> None:
    parameters.check()
    settings = parameter_file.load(Settings)
    bins = calibration.load(Path("plots/test/reliability.json"))
    page = Page(
        settings=settings.model_dump(by_alias=True),
        dataset=metrics.load(Path("metrics/dataset.json")),
        layers=summary.load(Path("models/layers.json")),
        training=history.load(Path("metrics/history.csv"), Path("metrics/train.json")),
        findings_on_training=findings.load(Path("metrics/validation_findings.md"), "validate"),
        results=results.load(Path("metrics/test.json"), Path("metrics/test_classes.json")),
        findings_on_test=findings.load(Path("metrics/test_findings.md"), "test"),
        calibration_error=calibration.expected_calibration_error(bins),
        curves=_picture("plots/validation/curves.png", "validate"),
        confusion=_picture("plots/test/confusion_matrix.png", "test"),
        roc=_picture("plots/test/roc.png", "test"),
        reliability=_picture("plots/test/reliability.png", "test"),
        mistakes=mistakes.load(Path("plots/test/mistakes.json")),
        near_duplicates=near_pairs.load(Path("plots/dataset/near_duplicates.json")),
        versions={name: version(name) for name in PACKAGES},
    )
    with all_or_none() as place:
        write_text(place("plots/report.html"), render.as_html(page))
        write_text(place("metrics/report.md"), render.as_markdown(page))
    print("report: the whole run is on one page, plots/report.html; in short in metrics/report.md")


def _picture(path: str, stage: str) -> bytes:
    with written_by(stage, path):
        return Path(path).read_bytes()


if __name__ == "__main__":
    run_stage("report", one_stage_at_a_time()(report))
