"""Names, of classes above all, as text in a picture."""

from __future__ import annotations

from functools import cache

from stages.common.drawing import FontProperties, findfont, get_font

LONGEST = 32  # characters; a longer name takes the room of what it names


def label(name: str, longest: int = LONGEST) -> str:
    """``name`` as matplotlib shall draw it: to the letter, on one line, ``longest`` characters at most.

    Characters that the font lacks become empty boxes, which matplotlib would draw too, but with a warning for each.
    """
    short = name if len(name) <= longest else name[: longest - 1] + "…"
    drawable = "".join(character if ord(character) in _characters() else "□" for character in short)
    return drawable.replace("$", r"\$")  # between two bare dollars matplotlib reads a formula


@cache
def _characters() -> frozenset[int]:
    return frozenset(get_font(findfont(FontProperties())).get_charmap())
