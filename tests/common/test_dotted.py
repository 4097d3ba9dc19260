"""Nested settings by their dotted names."""

from __future__ import annotations

from stages.common.dotted import flat


def test_each_innermost_value_has_its_dotted_name_and_a_list_is_a_value() -> None:
    settings = {"seed": 1, "train": {"drop": {"factor": 0.1}, "off": None}, "model": {"filters": [16, 32]}, "none": {}}
    assert dict(flat(settings)) == {
        "seed": 1,
        "train.drop.factor": 0.1,
        "train.off": None,
        "model.filters": [16, 32],
    }
