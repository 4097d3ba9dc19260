"""The table of a sweep has the figures that the textbook's formulas give."""

from __future__ import annotations

import json

import numpy as np
import pytest
from scipy import stats

from stages.common.files import png
from stages.experiments.figure import dots
from stages.experiments.table import as_json, markdown, table

FIRST = {"1": 0.70, "2": 0.72, "3": 0.69, "4": 0.71}
SECOND = {"1": 0.71, "2": 0.74, "3": 0.69, "5": 0.60}


def test_a_setting_has_mean_deviation_interval_and_range() -> None:
    (summary,) = table("test.accuracy", {"a": FIRST}).summaries
    assert (summary.runs, summary.least, summary.most) == (4, 0.69, 0.72)
    assert summary.mean == pytest.approx(0.705)
    assert summary.deviation == pytest.approx(0.0129099, rel=1e-5)
    expected = stats.ttest_1samp(list(FIRST.values()), 0).confidence_interval(0.95)
    assert summary.interval == pytest.approx((expected.low, expected.high))


def test_a_setting_whose_name_holds_what_markdown_reads_is_one_cell() -> None:
    text = markdown([table("test.accuracy", {"a|b\nc": FIRST})])
    assert "| a\\|b c " in text


def test_equal_values_have_a_deviation_of_0() -> None:
    (summary,) = table("test.accuracy", {"a": dict.fromkeys("123", 0.7)}).summaries
    assert summary.deviation == 0


def test_a_difference_is_over_the_seeds_that_both_settings_have() -> None:
    (difference,) = table("test.accuracy", {"a": FIRST, "b": SECOND}).differences
    expected = stats.ttest_rel([0.71, 0.74, 0.69], [0.70, 0.72, 0.69])
    interval = expected.confidence_interval(0.95)
    assert (difference.setting, difference.against, difference.pairs) == ("b", "a", 3)
    assert difference.mean == pytest.approx(0.01)
    assert difference.p == pytest.approx(expected.pvalue)
    assert difference.interval == pytest.approx((interval.low, interval.high))


def test_folds_widen_the_interval_by_what_they_share() -> None:
    """As Nadeau and Bengio correct the variance of a mean: by 1 / n + 1 / (k - 1) in place of 1 / n."""
    plain = table("validation.accuracy", {"a": FIRST, "b": SECOND})
    (first, _), (difference,) = plain.summaries, plain.differences
    folded = table("validation.accuracy", {"a": FIRST, "b": SECOND}, folds=5)
    assert folded.summaries[0].deviation == first.deviation
    assert first.interval
    assert folded.summaries[0].interval
    assert np.diff(folded.summaries[0].interval) == pytest.approx(np.diff(first.interval) * np.sqrt(1 + 4 / 4))
    assert difference.p
    t = stats.t.isf(difference.p / 2, 2) / np.sqrt(1 + 3 / 4)
    assert folded.differences[0].p == pytest.approx(2 * stats.t.sf(t, 2))
    assert "paired by seed and fold:" in markdown([folded])


def test_what_single_runs_and_equal_ones_can_not_say_is_left_out() -> None:
    single = table("test.accuracy", {"a": {"1": 0.7}, "b": {"1": 0.8}, "c": {"2": 0.9}, "d": {}})
    assert single.summaries[0].deviation is None
    assert single.summaries[0].interval is None
    assert [(one.setting, one.p) for one in single.differences] == [("b", None)]
    equal = table("test.accuracy", {"a": {"1": 0.7, "2": 0.8}, "b": {"1": 0.72, "2": 0.82}})
    assert (equal.differences[0].mean, equal.differences[0].p) == (0.02, None)
    json.dumps(as_json([single, equal]), allow_nan=False)


def test_the_same_table_is_markdown_and_a_picture() -> None:
    tables = [table("test.accuracy", {"a": FIRST, "b": SECOND}), table("test.loss", {"a": {"1": 2.0}, "b": SECOND})]
    text = markdown(tables)
    assert "| a       | 4    | 0.7050 | 0.0129 | 0.6845 to 0.7255          | 0.6900 to 0.7200 |" in text
    assert "| b       | 3     | +0.0100         | -0.0148 to +0.0348 | 0.23              |" in text
    figure = dots(tables)
    assert [axes.get_xlabel() for axes in figure.axes] == ["test.accuracy", "test.loss"]
    first = figure.axes[0]
    shown = [np.size(line.get_xdata()) for line in first.lines if line.get_marker() == "o"]
    assert shown == [4, 4]


def test_a_setting_has_the_same_row_in_each_panel_of_the_picture() -> None:
    drops = table("train.first_drop", {"a": {}, "b": {"1": 7.0}, "c": {"1": 9.0}})
    accuracies = table("test.accuracy", {"a": {"1": 0.7}, "b": {"1": 0.8}, "d": {"1": 0.9}})
    left, right = dots([accuracies, drops]).axes
    assert [label.get_text() for label in left.get_yticklabels()] == ["a", "b", "d", "c"]
    points = [line.get_xydata() for line in right.lines if line.get_marker() == "o"]
    assert np.concatenate(points).tolist() == [[7, 1], [9, 3]]


def test_the_picture_of_very_many_settings_has_the_first_of_them_and_says_so() -> None:
    figure = dots([table("validation.accuracy", {f"a{i}": {"1": 0.7, "2": 0.8} for i in range(1100)})])
    assert len(figure.axes[0].get_yticks()) == 100
    assert figure.get_suptitle().startswith("The first 100 of 1100 settings. Blue: ")
    png(figure)
