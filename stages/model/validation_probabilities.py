"""The trained model's probabilities for the validation images: ``train`` writes them, ``validate`` reads them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from stages.common.files import write_array, written_by


def write(path: Path, probabilities: NDArray[np.float32]) -> None:
    """Write the probabilities, shape (images, classes), in NumPy's own format."""
    write_array(path, probabilities)


def load(path: Path, count: int) -> NDArray[np.float32]:
    """Read what :func:`write` wrote for ``count`` images.

    Returns:
        float32, shape (count, classes); each row sums to 1.

    Raises:
        UserError: the file is missing, is not what ``train`` writes, or is of another number of images.
    """
    with written_by("train", path):
        # A memory map refuses a file whose header claims more than it holds.
        probabilities: NDArray[np.float32] = np.array(np.lib.format.open_memmap(path, mode="r"))
        if probabilities.dtype != np.float32 or probabilities.ndim != 2 or len(probabilities) != count:
            raise ValueError(f"{probabilities.dtype} of shape {probabilities.shape} for {count:,} images")
    return probabilities
