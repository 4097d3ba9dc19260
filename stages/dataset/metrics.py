"""``metrics/dataset.json``: the number of images and of ``verify``'s findings, by name."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from stages.common.files import write_json, written_by


def write(path: Path, metrics: Mapping[str, Any]) -> None:
    """Write the metrics in the order given."""
    write_json(path, metrics)


def load(path: Path) -> dict[str, Any]:
    """Read what :func:`write` wrote.

    Raises:
        UserError: the file is missing or is not what ``verify`` writes.
    """
    with written_by("verify", path):
        values = json.loads(path.read_text(encoding="utf-8"))
        return {**values, "warnings": dict(values["warnings"])}
