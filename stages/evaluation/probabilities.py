"""What the trained model takes the validation images for, as ``train`` wrote it down."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from stages.common.console import UserError


def load(path: Path, count: int) -> NDArray[np.float32]:
    """Read the probabilities of ``count`` images.

    Returns:
        float32, shape (count, classes); each row sums to 1.

    Raises:
        UserError: the file is missing, is not what ``train`` writes, or is of another number of images.
    """
    try:
        # As a memory map, so that a file is refused whose header claims more than it holds.
        probabilities: NDArray[np.float32] = np.array(np.lib.format.open_memmap(path, mode="r"))
    except FileNotFoundError:
        raise UserError(f"{path} not found; run `dvc repro train`") from None
    except ValueError as error:
        raise UserError(f"{path} holds no probabilities ({error}); run `dvc repro train`") from error
    if probabilities.dtype != np.float32 or probabilities.ndim != 2 or len(probabilities) != count:
        found = f"{probabilities.dtype} of shape {probabilities.shape} for {count:,} images"
        raise UserError(f"{path} holds no probabilities of the split ({found}); run `dvc repro train`")
    return probabilities
