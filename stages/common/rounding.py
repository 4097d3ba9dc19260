"""Rounding that never turns a number into 0 or a perfect 1: 0.9998 stays below 1."""

from __future__ import annotations

import math
from typing import Literal

DECIMALS = 6  # of every float in a tracked file
SIGNIFICANT = 3  # digits of a number too small for the decimals, such as a learning rate of 2.5e-7


def rounded(value: float) -> float:
    """``value`` to :data:`DECIMALS`, or a tiny one to :data:`SIGNIFICANT` digits; below 1 it stays below 1."""
    if abs(value) < 10 ** (SIGNIFICANT - DECIMALS):
        return float(f"{value:.{SIGNIFICANT}g}")
    short = round(float(value), DECIMALS)
    return float(value) if abs(value) < 1 == abs(short) else short


def number(value: float, decimals: int, most: int = DECIMALS, perfect: float = 1.0, sign: Literal["", "+"] = "") -> str:
    """``value`` with ``decimals`` places, or with more, up to ``most``, until it differs from 0 and ``perfect``.

    If ``most`` places are too few, the text is a limit: ``<0.000001`` or ``>0.999999``.

    Args:
        perfect: smaller values are never rounded up to it.
        sign: ``+`` writes a plus sign before numbers that are not negative.
    """
    for places in range(decimals, most + 1):
        text = f"{value:{sign}.{places}f}"
        written, size = abs(float(text)), abs(value)
        if written == size or (written != 0 and not size < perfect <= written):
            return text
    limit = 10.0**-most if written == 0 else perfect - 10.0**-most
    below = (written == 0) == (value > 0)
    return f"{'<' if below else '>'}{math.copysign(limit, value):{sign}.{most}f}"


def percent(share: float, decimals: int = 2, most: int = DECIMALS - 2) -> str:
    """A share, 0 to 1, in percent; see :func:`number`."""
    return f"{number(100 * share, decimals, most, 100.0)}%"
