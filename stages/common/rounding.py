"""Numbers in few digits, of which none becomes perfect, or nothing, by rounding: 0.9998 is not 1."""

from __future__ import annotations

import math
from typing import Literal

DECIMALS = 6  # of every float in a tracked file: more than a difference worth reading, fewer than a line can hold
SIGNIFICANT = 3  # digits of a number that is too small for the decimals, such as a learning rate of 2.5e-7


def rounded(value: float) -> float:
    """``value`` to :data:`DECIMALS`, or to :data:`SIGNIFICANT` digits where that says more; below 1 it stays below."""
    if abs(value) < 10 ** (SIGNIFICANT - DECIMALS):
        return float(f"{value:.{SIGNIFICANT}g}")
    short = round(float(value), DECIMALS)
    return float(value) if abs(value) < 1 == abs(short) else short


def number(value: float, decimals: int, most: int = DECIMALS, perfect: float = 1.0, sign: Literal["", "+"] = "") -> str:
    """``value`` with ``decimals``, or with as many more, up to ``most``, as tell it from 0 and from ``perfect``.

    Where ``most`` are too few, the text names the limit that the value lies beyond: ``<0.000001`` or ``>0.999999``.

    Args:
        perfect: what no smaller value may be rounded up to.
        sign: ``+`` puts one before numbers that are not negative.
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
    """A share, from 0 to 1, in percent; see :func:`number`."""
    return f"{number(100 * share, decimals, most, 100.0)}%"
