"""Images of a dataset, small enough for a page, as PNG."""

from __future__ import annotations

import io

import numpy as np
from numpy.typing import NDArray
from PIL import Image

SIDE = 128  # pixels; the page shows an image 8rem wide, usually 128 pixels


def thumbnail(image: NDArray[np.uint8]) -> bytes:
    """``image``, shape (height, width, 3), RGB, as a PNG of at most :data:`SIDE` pixels a side."""
    written = io.BytesIO()
    small = Image.fromarray(np.asarray(image))
    small.thumbnail((SIDE, SIDE))
    small.save(written, "PNG")
    return written.getvalue()
