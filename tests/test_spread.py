"""The study of the spread over seeds: its recipes are those of params.yaml, and its table's figures are right."""

from __future__ import annotations

import pytest

from studies.spread import ARMS, effect_of, effect_of_the_drop, recipe_of, table
from tests.defaults import SETTINGS


@pytest.mark.parametrize("arm", ARMS)
def test_an_arm_is_the_default_recipe_with_what_it_names_changed(arm: str) -> None:
    defaults = SETTINGS.train.model_dump()
    changed = recipe_of(arm, SETTINGS.train).model_dump()
    assert {key for key in defaults if defaults[key] != changed[key]} == set(ARMS[arm])


def test_the_table_gives_mean_deviation_and_the_place_of_the_notebooks_run() -> None:
    run = {"arm": "defaults", "tensorflow": "2.21.0", "first_drop": "10"}
    runs = [
        run | {"test_accuracy": "0.69", "best_epoch": "8"},
        run | {"test_accuracy": "0.70", "best_epoch": "9"},
        run | {"test_accuracy": "0.73", "best_epoch": "11"},
    ]
    row = [cell.strip() for cell in table(runs).splitlines()[-1].split("|")]
    assert row[1:-1] == [
        "defaults", "2.21.0", "3", "70.67 % ± 2.08 %", "69.00 % to 73.00 %", "1 of 3", "1", "mean +0.8 sd",
    ]  # fmt: skip


def test_the_drop_and_an_arm_are_told_apart() -> None:
    run = {"arm": "defaults", "tensorflow": "2.21.0", "first_drop": "10"}
    defaults = [
        run | {"test_accuracy": "0.71", "best_epoch": "11"},
        run | {"test_accuracy": "0.69", "best_epoch": "9"},
        run | {"test_accuracy": "0.67", "best_epoch": "8"},
    ]
    by_accuracy = [one | {"arm": "monitor_accuracy"} for one in defaults]
    assert effect_of_the_drop(defaults + by_accuracy) == (
        "best epoch after the first drop: 1 runs, 71.00 % ± ?; before it: 2 runs, 68.00 % ± 1.41 %"
    )
    said = effect_of("monitor_accuracy", defaults + by_accuracy)
    assert said.startswith("monitor_accuracy minus defaults: +0.00 points")
    assert "p = 1 " in said
    better = [one | {"test_accuracy": str(float(one["test_accuracy"]) + 0.01)} for one in by_accuracy]
    assert effect_of("monitor_accuracy", defaults + better).startswith("monitor_accuracy minus defaults: +1.00 points")
