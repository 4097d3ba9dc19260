"""The report's page: what it tells, that every value is escaped, and that it is one small file of equal bytes."""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import pytest
from markupsafe import escape

from stages.evaluation.results import Interval, Results
from stages.evaluation.scores import by_class, evaluate
from stages.page.render import Page, as_html, as_markdown
from tests.tiny_page import some_page


@pytest.fixture(scope="module")
def page() -> Page:
    return some_page()


@pytest.fixture(scope="module")
def html(page: Page) -> str:
    return as_html(page)


@pytest.mark.parametrize(
    "text",
    [
        ">4,000</td>",
        "A network of 499 parameters learnt 3 classes",
        "16 of 18 checks found nothing",
        ">2 warnings</td>",
        ">1 warning</td>",
        "<td>32, 32, 16</td>",
        ">448</td>",
        "Optimizer sgd, learning rate 0.01, momentum 0.9",
        "<li>The model does not overfit.</li>",
        "95&nbsp;% interval 0.5100&nbsp;to&nbsp;0.7900",
        "b/blue/2.png<br><strong>across two splits</strong>",
        '<th scope="row">dataset.checks.leakage</th><td>error</td>',
        '<th scope="row">model.batch_normalization</th><td>false</td>',
        '<th scope="row">dataset.train</th><td>[train1, train3, train4, train5]</td>',
        '<th scope="row">keras</th><td>3.0</td>',
        "a sample spread evenly over its folders and classes",
        "A sample, spread evenly over the pairs listed",
    ],
)
def test_the_page_tells_of_data_network_training_test_and_parameters(text: str, html: str) -> None:
    assert text in html


def test_the_page_gives_every_metric_of_every_class(page: Page, html: str) -> None:
    table = html[html.index("Metrics by class, test split") :]
    for each in page.results.classes.values():
        for name in ("precision", "recall", "f1", "auc"):
            assert f">{each[name]:.4f}</td>" in table
    assert f"{page.calibration_error:.4f}" in html


def test_figures_mistakes_and_near_duplicates_are_pictures_with_a_text(page: Page, html: str) -> None:
    pictures = re.findall(r'<img src="data:image/png;base64,[A-Za-z0-9+/]+=*" alt="[^"]+"', html)
    assert len(pictures) == 4 + len(page.mistakes) + 2


def test_a_mistake_carries_the_name_of_its_file_so_that_its_label_can_be_looked_up(page: Page, html: str) -> None:
    gallery = html[html.index('id="mistakes"') : html.index('id="duplicates"')]
    for each in page.mistakes:
        name, actual = each.name.replace("&", "&amp;"), str(escape(each.actual))
        assert f">{name}<br>is <strong>{actual}</strong>" in gallery


def test_a_class_named_like_a_tag_is_shown_and_never_run(html: str) -> None:
    assert html.count("<script>") == 1
    assert html.count("green | &lt;script&gt;alert(1)&lt;/script&gt;") > 1


def test_markup_in_markdown_is_shown_to_the_letter(page: Page) -> None:
    text = as_markdown(page)
    assert "| green \\| \\<script\\>alert(1)\\</script\\> |" in text
    assert "| red \\& \\*grey\\* |" in text
    assert "- Most often confused: blueblue" in text
    assert " and \\<b\\>green\\</b\\>." in text
    assert "<script" not in text.replace("\\<", "")


def test_the_markdown_tells_the_same_in_short(page: Page, html: str) -> None:
    text = as_markdown(page)
    assert f"| Accuracy | {page.results.figures['accuracy']:.4f} | 0.5100 to 0.7900 |" in text
    assert "near\\_duplicate: 2 warnings, near\\_leakage: 1 warning." in text
    assert "| Conv2D | 32, 32, 16 | 448 |" in text
    assert len(text) < 10_000


def test_tables_of_the_markdown_have_as_many_cells_in_each_row(page: Page) -> None:
    for table in re.findall(r"(?:^\|.*\n)+", as_markdown(page), re.MULTILINE):
        assert len({len(re.findall(r"(?<!\\)\|", row)) for row in table.splitlines()}) == 1


def test_the_page_is_one_file_that_asks_nothing_of_a_network_and_stays_below_two_megabytes(html: str) -> None:
    assert not re.search(r"https?://|url\(|<link|@import", html)
    assert len(html.encode()) < 2_000_000


def test_equal_contents_give_equal_bytes(html: str) -> None:
    assert as_html(some_page()) == html
    assert as_markdown(some_page()) == as_markdown(some_page())


def test_the_page_tells_the_schedule_at_hand_and_nothing_of_a_plateau_that_there_is_not() -> None:
    plateau = as_html(some_page())
    assert (
        "The learning rate is multiplied by 0.1 after 3 epochs without a better\nval_loss; training stops after 6."
        in plateau
    )
    train = some_page().settings["train"] | {
        "schedule": {"kind": "one_cycle", "rise": 0.2, "first": 0.1, "last": 0.01},
        "early_stopping": None,
        "weight_average": 0.99,
    }
    cycle = as_html(some_page(settings={**some_page().settings, "train": train}))
    assert "The learning rate follows the schedule one cycle, batch by batch.\n" in cycle
    assert "is kept, its weights being a moving average." in cycle
    assert "training stops" not in cycle


def test_the_page_says_what_stops_a_training_whose_schedule_is_no_plateau() -> None:
    page = some_page()
    early = {"patience": 6, "min_delta": 0.0}
    changed = page.settings["train"] | {"schedule": {"kind": "cosine", "warm_up": 0.1}, "early_stopping": early}
    text = as_html(some_page(settings={**page.settings, "train": changed}))
    assert "batch by batch; training stops after 6 epochs without a better val_loss.\n" in text


def test_where_nothing_was_found_the_page_says_so() -> None:
    dataset = {**some_page().dataset, "near_duplicates": 0, "near_leaked_images": 0, "warnings": {"total": 0}}
    html = as_html(some_page(mistakes=[], near_duplicates=[], dataset=dataset))
    for text in ("18 of 18 checks", "there is no warning", "No test image is classified wrongly", "No pair of near"):
        assert text in html


@pytest.mark.parametrize("images", [0, 1, 1_234])
def test_near_duplicates_are_said_to_flatter_the_test_only_where_they_join_test_and_train(images: int) -> None:
    dataset = {**some_page().dataset, "near_duplicates": 1, "warnings": {"total": 2_001, "near_leakage": 2_000}}
    html = as_html(some_page(dataset=dataset | {"near_leaked_test_images": images}))
    assert "1 pair within a split, 2,000 pairs\nacross two splits." in html
    assert ("a little too good" in html) == (images > 0)
    assert (f"a partner among the training images, {images:,}, make the" in html) == (images > 0)


def test_no_figure_is_rounded_up_to_perfect_or_down_to_nothing() -> None:
    page = some_page()
    one, *others = page.results.classes.items()
    classes = {one[0]: {**one[1], "f1": 0.99996, "auc": 0.9999999}, **dict(others)}
    nearly = dict.fromkeys(("accuracy", "recall_macro", "auc_macro"), 0.99997) | {"loss": 0.00003}
    intervals = dict.fromkeys(page.results.intervals, Interval(0.99996, 0.99999))
    results = Results({**page.results.figures, **nearly}, intervals, classes)
    mistake = replace(page.mistakes[0], probability=0.99999)
    changed = some_page(results=results, calibration_error=1e-9, mistakes=[mistake])
    html, text = as_html(changed), as_markdown(changed)
    for content in (html, text):
        assert "99.997%" in content
        assert "100.00%" not in content
        assert not re.search(r"\b(1\.0000|0\.0000)\b", content)
        for figure in ("0.99997", "0.00003", "0.99996 to 0.99999", "0.999999"):
            assert figure in content
    assert "probability 99.999%" in html
    assert "&lt;0.000001" in html


def test_every_metric_has_its_interval(page: Page, html: str) -> None:
    text = as_markdown(page)
    for name, interval in page.results.intervals.items():
        assert interval is not None
        value, both = f"{page.results.figures[name]:.4f}", f"{interval.low:.4f} to 0.7900"
        assert re.search(rf'>{value}</td><td class="number" [^>]*>{both}</td>', html)
        assert f"| {value} | {both} |" in text
    assert "An interval is undefined" not in html


def test_where_an_interval_is_undefined_the_page_says_so(page: Page) -> None:
    without = some_page(results=replace(page.results, intervals=dict.fromkeys(page.results.intervals)))
    html = as_html(without)
    assert html.count(">undefined</td>") == as_markdown(without).count("| undefined |") == len(page.results.intervals)
    assert "An interval is undefined where the test images show no spread" in html


def test_the_figures_of_a_class_without_images_are_undefined() -> None:
    found = evaluate(np.array([0, 1], np.int32), np.eye(3, dtype=np.float32)[[0, 2]], ["a", "b", "absent"])
    page = some_page(results=replace(some_page().results, classes=by_class(found)))
    row = r'>absent</th>(<td class="number" data-value="-1">undefined</td>){4}<td class="number" data-value="0">0</td>'
    assert re.search(row, as_html(page))
    assert "| absent | undefined | undefined | undefined | undefined | 0 |" in as_markdown(page)


def test_a_check_that_is_off_is_not_counted_as_passed() -> None:
    settings = dict(some_page().settings)
    settings["dataset"] = settings["dataset"] | {"checks": settings["dataset"]["checks"] | {"leakage": "off"}}
    page = some_page(settings=settings)
    assert page.passed == 15
    assert '<td>off</td><td class="number" data-value="-1">not asked</td>' in as_html(page)
