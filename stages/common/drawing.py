"""matplotlib without a user's settings; every other module takes it from here."""

# ruff: noqa: E402 (matplotlib's parts come after its settings)

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory


@contextmanager
def _without_settings_file() -> Iterator[None]:
    """Let matplotlib, imported meanwhile, find no ``matplotlibrc`` but its own.

    It looks in the current folder and in that of its configuration. To set its defaults afterwards would not do: some
    settings have been used by then (``image.lut``), and a file that it can't read has ended the import.
    """
    here = Path.cwd()
    configuration = os.environ.get("MPLCONFIGDIR")
    with TemporaryDirectory() as empty:
        os.chdir(empty)
        os.environ["MPLCONFIGDIR"] = empty
        try:
            yield
        finally:
            os.chdir(here)
            # Given back, since the list of fonts is kept there too, and takes seconds to make.
            del os.environ["MPLCONFIGDIR"]
            if configuration is not None:
                os.environ["MPLCONFIGDIR"] = configuration


with _without_settings_file():
    import matplotlib  # noqa: F401

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties, findfont, get_font
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.ticker import FuncFormatter, MaxNLocator, PercentFormatter

__all__ = [
    "Axes",
    "ConstrainedLayoutEngine",
    "Figure",
    "FigureCanvasAgg",
    "FontProperties",
    "FuncFormatter",
    "MaxNLocator",
    "PercentFormatter",
    "findfont",
    "get_font",
]
