"""The project's own templates for DVC's plots, filled by DVC's renderer."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from dvc_render.vega import VegaRenderer  # type: ignore[import-untyped]

REVISIONS = ("HEAD", "workspace")
ROWS: dict[str, tuple[str, str, list[dict[str, Any]]]] = {
    "confusion": ("predicted", "actual", [{"predicted": "cat", "actual": "dog"}]),
    "confusion_normalized": ("predicted", "actual", [{"predicted": "cat", "actual": "dog"}]),
    "roc": ("fpr", "tpr", [{"class": "cat", "auc": 0.5, "fpr": 0.0, "tpr": 0.0}]),
    "bars": ("f1", "class", [{"class": "cat", "f1": 0.5}]),
    "reliability": ("confidence", "accuracy", [{"confidence": 0.75, "accuracy": 0.5, "images": 4}]),
    "epochs": ("epoch", "loss", [{"epoch": "1", "loss": "0.5"}]),
    "learning_rate": ("epoch", "learning_rate", [{"epoch": "1", "learning_rate": "0.01"}]),
}


def filled(name: str) -> dict[str, Any]:
    x, y, rows = ROWS[name]
    points = [row | {"rev": revision} for revision in REVISIONS for row in rows]
    labels = {"title": "The title", "x_label": "The x", "y_label": "The y"}
    renderer = VegaRenderer(points, name, template=name, template_dir=".dvc/plots", x=x, y=y, **labels)
    content: dict[str, Any] = renderer.get_filled_template()
    return content


def test_every_template_is_tested() -> None:
    assert {file.stem for file in Path(".dvc/plots").glob("*.json")} == set(ROWS)


@pytest.mark.parametrize("name", ROWS)
def test_a_template_is_filled_with_data_title_and_labels(name: str) -> None:
    content = filled(name)
    text = json.dumps(content)
    assert "<DVC_METRIC" not in text
    assert {row["rev"] for row in content["data"]["values"]} == set(REVISIONS)
    assert content["title"]["text"] == "The title"
    assert '"title": "The x"' in text
    assert '"title": "The y"' in text


def test_roc_curves_have_a_colour_a_class_and_a_panel_a_revision() -> None:
    content = filled("roc")
    chance, curves = content["spec"]["layer"]
    assert content["facet"]["column"]["field"] == "rev"
    assert curves["encoding"]["color"]["field"] == content["transform"][0]["as"]
    assert "datum['class']" in content["transform"][0]["calculate"]
    assert "datum.auc" in content["transform"][0]["calculate"]
    assert "interpolate" not in curves["mark"]
    assert chance["data"]["values"] == [{"chance": 0}, {"chance": 1}]


@pytest.mark.parametrize("name", ["confusion", "confusion_normalized"])
def test_a_class_that_is_never_predicted_has_a_column_in_the_confusion_matrices(name: str) -> None:
    content = filled(name)
    cells, _, classes = content["spec"]["layer"]
    assert content["facet"]["column"]["field"] == "rev"
    assert content["spec"]["encoding"]["x"]["field"] == "predicted"
    assert cells["encoding"]["color"]["field"] == {"confusion": "images", "confusion_normalized": "share"}[name]
    assert classes["encoding"]["x"]["field"] == "actual"
    assert classes["mark"]["opacity"] == 0


def test_reliability_has_a_diagonal_on_axes_from_0_to_1() -> None:
    agreed, bins = filled("reliability")["layer"]
    assert agreed["data"]["values"] == [{"agreed": 0}, {"agreed": 1}]
    _, points = bins["layer"]
    assert points["encoding"]["size"]["field"] == "images"
    assert [bins["encoding"][axis]["scale"]["domain"] for axis in "xy"] == [[0, 1], [0, 1]]


@pytest.mark.parametrize("name", ["bars", "epochs", "learning_rate", "reliability"])
def test_other_plots_have_a_colour_a_revision(name: str) -> None:
    assert '"color": {"field": "rev"' in json.dumps(filled(name))
