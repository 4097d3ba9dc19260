"""A search draws the same settings each time, in their ranges and evenly; more trials leave the first as they are."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stages.experiments.search import Range, Search

PARAMETERS = {
    "train.learning_rate": {"low": 0.001, "high": 0.1, "log": True},
    "train.batch_size": (32, 64, 128),
    "train.epochs": {"low": 1, "high": 4},
}


def search(trials: int) -> Search:
    return Search.model_validate({"trials": trials, "parameters": PARAMETERS})


def test_more_trials_begin_with_those_that_there_were() -> None:
    assert search(40).draw()[:7] == search(7).draw()


def test_the_settings_are_the_same_everywhere() -> None:
    first = [tuple(setting.values()) for setting in search(3).draw()]
    assert first == [(0.026, 64, 2), (0.0026, 128, 3), (0.0821, 32, 2)]


def test_each_value_and_each_part_of_a_range_is_drawn_as_often() -> None:
    drawn = search(240).draw()
    for name in ("train.batch_size", "train.epochs"):
        _, counts = np.unique([setting[name] for setting in drawn], return_counts=True)
        assert len(counts) == {"train.batch_size": 3, "train.epochs": 4}[name]
        assert np.ptp(counts) <= 4
    rates = np.array([setting["train.learning_rate"] for setting in drawn])
    assert abs((rates < 0.01).sum() - 120) <= 2
    assert all(type(setting["train.epochs"]) is int for setting in drawn)


@given(st.integers(-1000, 1000), st.integers(1, 1000), st.floats(0, 1), st.booleans())
def test_what_is_drawn_lies_in_its_range(low: int, width: int, point: float, log: bool) -> None:
    log = log and low > 0
    assert low <= Range(low=low, high=low + width, log=log).at(point) <= low + width
    assert low / 8 <= Range(low=low / 8, high=(low + width) / 8, log=log).at(point) <= (low + width) / 8


def test_a_number_has_no_more_digits_than_tell_apart() -> None:
    assert Range(low=0.0, high=1.0).at(0.123456) == pytest.approx(0.123, abs=0)
    assert Range(low=0.99, high=0.9999).at(0.123456) == pytest.approx(0.99122, abs=0)
