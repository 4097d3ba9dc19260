"""matplotlib without the user's settings; every other module takes it from here."""

# ruff: noqa: E402 (matplotlib is imported without its settings first)

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory


@contextmanager
def _without_settings_file() -> Iterator[None]:
    """Let an import of matplotlib in the block find no ``matplotlibrc`` but its own.

    It looks in the current folder and in its configuration folder. Resetting the defaults afterwards is too late: the
    import uses some settings (``image.lut``), and fails on a file that it can't read.
    """
    here = Path.cwd()
    configuration = os.environ.get("MPLCONFIGDIR")
    try:
        folder = TemporaryDirectory()
    except FileNotFoundError:  # all disks are full, of which the stage tells when it writes
        yield
        return
    with folder as empty:
        os.chdir(empty)
        os.environ["MPLCONFIGDIR"] = empty
        try:
            yield
        finally:
            os.chdir(here)
            # Restored because the list of fonts is kept there too, and takes seconds to make.
            del os.environ["MPLCONFIGDIR"]
            if configuration is not None:
                os.environ["MPLCONFIGDIR"] = configuration


with _without_settings_file():
    import matplotlib  # noqa: F401

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties, findfont, get_font
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.ticker import FuncFormatter, MaxNLocator, PercentFormatter

__all__ = [
    "BLUE",
    "LONGEST_NAME",
    "ORANGE",
    "Axes",
    "ConstrainedLayoutEngine",
    "Figure",
    "FuncFormatter",
    "MaxNLocator",
    "PercentFormatter",
    "drawable",
]

# Okabe and Ito's colours (2008), which colour-blind people can tell apart.
BLUE, ORANGE = "#0072B2", "#D55E00"
LONGEST_NAME = 32  # characters; a longer name would leave no room for the picture


def drawable(name: str, longest: int = LONGEST_NAME) -> str:
    """``name``, such as a class's, as matplotlib should draw it: to the letter, on one line, shortened if long.

    Characters that the font lacks become empty boxes. matplotlib would draw them too, but with a warning for each.

    Args:
        longest: how many characters are drawn at most.
    """
    short = name if len(name) <= longest else name[: longest - 1] + "…"
    available = "".join(character if ord(character) in _font_characters() else "□" for character in short)
    return available.replace("$", r"\$")  # matplotlib reads what stands between two bare dollars as a formula


@cache
def _font_characters() -> frozenset[int]:
    return frozenset(get_font(findfont(FontProperties())).get_charmap())
