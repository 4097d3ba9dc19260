"""Nested settings by their dotted names, such as ``train.early_stopping.patience``."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any


def flat(settings: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield each innermost value of ``settings`` with its dotted name, in order; a list is a value."""
    if isinstance(settings, Mapping):
        for name, inner in settings.items():
            yield from flat(inner, f"{prefix}.{name}" if prefix else str(name))
    else:
        yield prefix, settings
