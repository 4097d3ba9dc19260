"""The project's folder, and its default parameters.

The parameters are a frozen copy, ``tests/params.yaml``, so that the tests stay green when a user edits ``params.yaml``.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from stages import parameters
from stages.common import parameter_file

ROOT = Path(__file__).resolve().parent.parent
PARAMS_FILE = ROOT / "tests" / "params.yaml"
SETTINGS = parameters.load(PARAMS_FILE)


def parameter_values(file: Path = PARAMS_FILE) -> dict[str, Any]:
    """What a parameter file says, to change and to write; PyYAML would read YAML 1.1, in which ``off`` is False."""
    return parameter_file.parse(file.read_bytes(), str(file))
