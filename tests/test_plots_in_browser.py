"""DVC's pages of plots in Chromium, from the template that ``make plots`` makes, with no network to be had.

``pytest -rP tests/test_plots_in_browser.py`` lists the plots of each page with the number of marks that each drew.
"""

from __future__ import annotations

import shutil
import sys
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest
import yaml

if TYPE_CHECKING:  # the quick tests load this file too
    from playwright.sync_api import Browser

from tests.defaults import ROOT
from tests.projects import Project, new_project

pytestmark = pytest.mark.slow

STAGES = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]
OF_STAGES = [plot for stage in STAGES.values() for plot in stage.get("plots", [])]
DECLARED: list[Any] = [*OF_STAGES, *yaml.safe_load((ROOT / "plots/dvc.yaml").read_text())["plots"]]
PLOTS: dict[str, dict[str, str]] = {
    plot["title"]: plot for entry in DECLARED if isinstance(entry, dict) for plot in entry.values()
}
PICTURES: list[str] = [entry for entry in DECLARED if isinstance(entry, str)]
REVISIONS = {"show": ["workspace"], "diff HEAD~1": ["HEAD~1", "workspace"]}  # by command, the ones that it compares

# Keeps what each call of vegaEmbed promises, so that the views can be asked what they drew.
KEEP_VIEWS = """
    window.embedded = [];
    let embed;
    Object.defineProperty(window, "vegaEmbed", {
        set: (value) => { embed = value; },
        get: () => (...call) => { const promise = embed(...call); window.embedded.push(promise); return promise; },
    });
"""
CUT = """
    [...document.querySelectorAll("html, body > div")].filter((box) => box.scrollWidth > box.clientWidth)
        .map((box) => box.id)
"""
# Of each view: the number of marks that stand for data, and all texts by role: title-text, axis-title, legend-label ...
READ_VIEWS = """
    async () => (await Promise.all(window.embedded)).map(({view}) => {
        const plot = {marks: 0, texts: {}};
        const visit = (node) => {
            const shown = (node.items ?? []).filter((item) => node.marktype !== "text" || item.text);
            if (node.role === "mark" && node.marktype !== "group") plot.marks += shown.length;
            if (node.marktype === "text") (plot.texts[node.role] ??= []).push(...shown.map((item) => item.text));
            shown.forEach(visit);
        };
        visit(view.scenegraph().root);
        return plot;
    })
"""


@dataclass
class Plots:
    """A page of plots, when all of it is drawn."""

    revisions: list[str]
    vega: dict[str, dict[str, Any]]  # by title: the number of marks, and the texts by role
    unknown: int  # how many more plots there are
    cut: list[str]  # what is wider than a window of 1280 pixels has room for
    pictures: list[tuple[str, int]]  # address, and width in pixels: 0 when it could not be drawn
    requests: list[str] = field(default_factory=list)  # for anything that is not a file
    errors: list[str] = field(default_factory=list)


@pytest.fixture(scope="module")
def project(browser: Browser, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """Two runs that differ in a parameter, a commit each; asked for after the browser, without which it is no use."""
    project = new_project(tmp_path_factory.mktemp("plots") / "project")
    shutil.copytree(ROOT / "tools", project.folder / "tools", ignore=shutil.ignore_patterns("__pycache__"))
    project.repro()
    project.commit()
    project.set({"train.learning_rate": 0.02})
    project.repro()
    project.commit()
    project.run(sys.executable, "-m", "tools.plots_page")
    return project


@pytest.fixture(scope="module", params=REVISIONS)
def page(browser: Browser, project: Project, request: pytest.FixtureRequest) -> Plots:
    command: str = request.param
    address = project.run("dvc", "plots", *command.split()).strip()
    requests: list[str] = []
    errors: list[str] = []
    with browser.new_context(offline=True, viewport={"width": 1280, "height": 900}) as context:
        tab = context.new_page()
        tab.add_init_script(KEEP_VIEWS)
        tab.on("request", lambda request: requests.append(request.url))
        tab.on("pageerror", lambda error: errors.append(str(error)))
        tab.on("console", lambda line: errors.append(line.text) if line.type == "error" else None)
        tab.goto(address)
        drawn = tab.evaluate(READ_VIEWS)
        cut = tab.evaluate(CUT)
        pictures = tab.evaluate("[...document.images].map((picture) => [picture.src, picture.naturalWidth])")
    vega = {title: plot for plot in drawn for title in PLOTS if title in plot["texts"]["title-text"]}
    for title, plot in vega.items():
        print(f"dvc plots {command}: {title}: {plot['marks']} marks")
    online = [url for url in requests if not url.startswith("file:")]
    return Plots(REVISIONS[command], vega, len(drawn) - len(vega), cut, pictures, online, errors)


def test_a_page_asks_the_network_for_nothing_and_reports_no_error(page: Plots) -> None:
    assert page.requests == []
    assert page.errors == []


def test_a_page_holds_no_plot_that_is_not_declared(page: Plots) -> None:
    assert page.unknown == 0


def test_a_page_fits_a_window_of_1280_pixels(page: Plots) -> None:
    assert page.cut == []


@pytest.mark.parametrize("title", PLOTS)
def test_a_plot_draws_marks_for_each_revision_under_its_title_and_labels(page: Plots, title: str) -> None:
    plot = page.vega[title]
    assert plot["marks"] > 0
    assert {PLOTS[title]["x_label"], PLOTS[title]["y_label"]} == set(plot["texts"]["axis-title"])
    # A legend names them, or the headings of the panels.
    assert set(page.revisions) <= {*plot["texts"].get("legend-label", []), *plot["texts"]["title-text"]}


@pytest.mark.parametrize("path", PICTURES)
def test_a_picture_is_drawn_for_each_revision(page: Plots, path: str) -> None:
    widths = [width for address, width in page.pictures if address.endswith("_plots_" + path.replace("/", "_"))]
    assert len(widths) == len(page.revisions)
    assert all(width > 0 for width in widths)
