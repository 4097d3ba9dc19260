"""The results on the test split come back from their files as they were, but for the rounding."""

from __future__ import annotations

from pathlib import Path

from stages.evaluation import results
from stages.evaluation.results import Interval, Results


def test_what_is_written_is_read_back_rounded_undefined_figures_too(tmp_path: Path) -> None:
    absent = {"precision": None, "recall": None, "f1": None, "auc": None, "support": 0}
    present = {"precision": 0.5, "recall": 0.25, "f1": 1 / 3, "auc": 0.99999999, "support": 7}
    found = Results(
        {"accuracy": 2 / 3, "auc_macro": None},
        {"accuracy": Interval(0.1234567, 0.9), "auc_macro": None},
        {"b": present, "a & <b>": absent},
    )
    files = tmp_path / "test.json", tmp_path / "test_classes.json"
    results.write(found, *files)
    back = results.load(*files)
    assert back.figures == {"accuracy": 0.666667, "auc_macro": None}
    assert back.intervals == {"accuracy": Interval(0.123457, 0.9), "auc_macro": None}
    # Nothing below 1 becomes 1.
    assert back.classes == {"b": present | {"f1": 0.333333}, "a & <b>": absent}
    assert list(back.classes) == ["b", "a & <b>"]
