"""Schedules of the learning rate: their shape over a whole training."""

from __future__ import annotations

import math
from typing import Any

import pytest
from pydantic import TypeAdapter

from stages.model.schedules import Schedule


def shares(**section: Any) -> list[float]:
    """The share of the rate at the beginning, at each tenth and at the end of a training."""
    schedule: Any = TypeAdapter(Schedule).validate_python(section)
    return [schedule.share(tenth / 10) for tenth in range(11)]


def test_a_plateau_leaves_the_rate_to_the_state_of_the_training() -> None:
    assert shares(kind="plateau", factor=0.1, patience=3, min_delta=0.0) == [1.0] * 11


def test_a_cosine_warms_up_linearly_and_falls_to_nothing() -> None:
    half_cosine = [(1 + math.cos(math.pi * eighth / 8)) / 2 for eighth in range(9)]
    assert shares(kind="cosine", warm_up=0.2) == pytest.approx([0, 0.5, *half_cosine])
    assert shares(kind="cosine", warm_up=0.0)[0] == 1


def test_one_cycle_rises_and_falls_linearly() -> None:
    found = shares(kind="one_cycle", rise=0.2, first=0.1, last=0.04)
    assert found == pytest.approx([0.1, 0.55, 1, 0.88, 0.76, 0.64, 0.52, 0.4, 0.28, 0.16, 0.04])
