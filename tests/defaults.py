"""The project's folder, and its default parameters.

The parameters are a frozen copy, ``tests/params.yaml``, so that the tests stay green when a user edits ``params.yaml``.
"""

from __future__ import annotations

from copy import deepcopy
from functools import cache
from pathlib import Path
from typing import Any

from stages import parameters
from stages.common import parameter_file

ROOT = Path(__file__).resolve().parent.parent
PARAMS_FILE = ROOT / "tests" / "params.yaml"
# What the defaults leave out, for tests of a training with everything on: keys of the file with a section or a value.
SMALL_RESIDUAL: dict[str, Any] = {
    "model": {
        "family": "residual",
        "stem": 8,
        "filters": [8, 16],
        "blocks": [1, 2],
        "pool_sizes": [2, 2],
        "convolutions": 1,
        "global_pooling": "max",
        "dropout": 0.1,
        "mirrored_view": True,
    }
}
EVERY_PART_OF_A_RECIPE: dict[str, Any] = {  # keys of the section train
    "augmentation": {"mirror": "alternating", "shift": 2, "cutout": 8},
    "class_weights": "balanced",
    "label_smoothing": 0.1,
    "schedule": {"kind": "one_cycle", "rise": 0.3, "first": 0.1, "last": 0.01},
    "nesterov": True,
    "weight_decay": 0.01,
    "weight_average": 0.9,
    "early_stopping": None,
}
SETTINGS = parameters.load(PARAMS_FILE)


def parameter_values(file: Path = PARAMS_FILE) -> dict[str, Any]:
    """What a parameter file says, to change and to write; PyYAML would read YAML 1.1, in which ``off`` is False."""
    return deepcopy(_parsed(file.read_bytes()))


@cache
def _parsed(content: bytes) -> dict[str, Any]:
    return parameter_file.parse(content, "params.yaml")
