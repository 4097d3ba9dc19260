"""The project's folder, and its default parameters.

The parameters are a frozen copy, ``tests/params.yaml``, so that the tests stay green when a user edits ``params.yaml``.
"""

from __future__ import annotations

from pathlib import Path

from stages import parameters

ROOT = Path(__file__).resolve().parent.parent
PARAMS_FILE = ROOT / "tests" / "params.yaml"
SETTINGS = parameters.load(PARAMS_FILE)
