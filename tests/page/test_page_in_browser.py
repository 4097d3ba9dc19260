"""The report's page in Chromium: it asks for nothing, raises no error, sorts, enlarges, and axe finds no violation."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import pytest

if TYPE_CHECKING:  # the quick tests load this file too
    from playwright.sync_api import Browser, Page

from stages.page.render import as_html
from tests.tiny_page import CLASSES, some_page

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> str:
    file: Path = tmp_path_factory.mktemp("page") / "report.html"
    file.write_text(as_html(some_page()), encoding="utf-8")
    return file.as_uri()


@pytest.fixture
def page(browser: Browser, address: str) -> Iterator[Page]:
    """The page, opened; the test fails where it asked for another file or wrote to the console."""
    opened = browser.new_page()
    requests: list[str] = []
    complaints: list[str] = []
    opened.on("request", lambda request: requests.append(request.url))
    opened.on("console", lambda message: complaints.append(message.text))
    opened.on("pageerror", lambda error: complaints.append(str(error)))
    opened.goto(address)
    yield opened
    opened.close()
    assert [url for url in requests if not url.startswith("data:")] == [address]
    assert complaints == []


def first_cells(page: Page) -> list[str]:
    return page.get_by_role("table", name="Metrics by class").locator("tbody th").all_inner_texts()


def test_every_picture_is_drawn(page: Page) -> None:
    pictures = page.locator("main img")
    assert pictures.count() >= 6
    assert pictures.evaluate_all("all => all.every(each => each.complete && each.naturalWidth > 0)")


def test_a_header_cell_sorts_its_table_up_and_down_by_number(page: Page) -> None:
    table = page.get_by_role("table", name="Metrics by class")
    classes = some_page().results.classes
    expected = sorted(classes, key=lambda name: classes[name]["f1"] or 0)
    assert first_cells(page) == list(CLASSES)
    table.get_by_role("button", name="F1").click()
    assert first_cells(page) == expected
    assert table.get_by_role("columnheader", name="F1").get_attribute("aria-sort") == "ascending"
    table.get_by_role("button", name="F1").press("Enter")
    assert first_cells(page) == expected[::-1]
    assert table.get_by_role("columnheader", name="F1").get_attribute("aria-sort") == "descending"


def test_a_header_cell_sorts_its_table_by_word(page: Page) -> None:
    table = page.get_by_role("table", name="Metrics by class")
    table.get_by_role("button", name="F1").click()
    table.get_by_role("button", name="Class").click()
    assert first_cells(page) == list(CLASSES)
    assert table.locator("[aria-sort=ascending]").all_inner_texts() == ["Class"]


def test_a_figure_enlarges_and_closes_with_the_keyboard(page: Page) -> None:
    figure = page.get_by_role("button", name="Confusion matrix")
    figure.press("Enter")
    dialog = page.get_by_role("dialog")
    enlarged, original = dialog.get_by_role("img").bounding_box(), figure.bounding_box()
    assert enlarged is not None
    assert original is not None
    assert enlarged["width"] > original["width"]
    page.keyboard.press("Escape")
    assert dialog.count() == 0


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("enlarged", [False, True])
def test_axe_finds_no_violation(page: Page, scheme: Literal["light", "dark"], enlarged: bool) -> None:
    page.emulate_media(color_scheme=scheme)
    if enlarged:
        page.get_by_role("button", name="Confusion matrix").click()
    from axe_playwright_python.sync_playwright import Axe  # type: ignore[import-untyped]  # as above

    results = Axe().run(page)
    assert [(each["id"], [node["html"] for node in each["nodes"]]) for each in results.response["violations"]] == []


def test_the_page_fits_a_phone(page: Page) -> None:
    page.set_viewport_size({"width": 390, "height": 800})
    assert page.evaluate("document.documentElement.scrollWidth") == 390


def test_no_word_of_a_table_is_broken_on_a_phone(page: Page) -> None:
    page.set_viewport_size({"width": 390, "height": 800})
    cells = page.get_by_role("table", name="Splits").get_by_role("rowheader")
    assert cells.all_inner_texts() == ["train", "validation", "test"]
    lines = cells.evaluate_all(
        "all => all.map(each => (range => (range.selectNodeContents(each), range.getClientRects().length))"
        "(document.createRange()))"
    )
    assert lines == [1, 1, 1]


def test_it_prints_dark_on_white_whatever_the_screen(page: Page) -> None:
    page.emulate_media(color_scheme="dark", media="print")
    assert page.evaluate("getComputedStyle(document.body).color") == "rgb(27, 31, 36)"
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"


def test_it_prints_within_the_paper_and_without_hints_on_what_a_click_does(page: Page) -> None:
    hints = (page.get_by_role("navigation"), page.get_by_text("the header cells sort"))
    assert all(hint.is_visible() for hint in hints)
    page.emulate_media(media="print")
    page.set_viewport_size({"width": 680, "height": 1000})  # what the margins leave of A4
    assert page.evaluate("document.documentElement.scrollWidth") == 680
    assert not any(hint.is_visible() for hint in hints)


@pytest.mark.parametrize(
    ("selector", "style"),
    [
        ("p, figure, tr, li, .tiles div", "breakInside"),
        ("h2, h3, caption, thead, p:has(+ figure), p:has(+ ul), p:has(+ .scroll)", "breakAfter"),
    ],
)
def test_no_page_ends_within_a_row_or_a_figure_or_after_a_heading(page: Page, selector: str, style: str) -> None:
    page.emulate_media(media="print")
    parts = page.locator("main").or_(page.locator("header")).locator(selector)
    assert parts.evaluate_all(f"all => [...new Set(all.map(each => getComputedStyle(each).{style}))]") == ["avoid"]
