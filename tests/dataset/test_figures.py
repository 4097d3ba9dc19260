"""Pictures of a dataset: the samples as they are, and no larger for larger images."""

from __future__ import annotations

import numpy as np
import pytest

from stages.dataset import figures


@pytest.mark.parametrize(("size", "side"), [(16, 16), (32, 32), (64, 64), (512, 64)])
def test_a_sample_is_shown_pixel_by_pixel_or_made_smaller(size: int, side: int) -> None:
    images = np.random.default_rng(0).integers(0, 256, (4, size, size, 3), dtype=np.uint8)
    figure = figures.samples(images, np.array([0, 0, 1, 1], np.int32), ["a", "b"])
    sheet = np.asarray(figure.axes[0].images[0].get_array())
    pitch = side + max(1, side // 16)
    assert sheet.shape == (2 * pitch, figures.SAMPLES_A_CLASS * pitch, 3)
    for row, column, image in ((0, 0, 0), (0, 1, 1), (1, 0, 2), (1, 1, 3)):
        own = sheet[row * pitch : row * pitch + side, column * pitch : column * pitch + side]
        blocks = images[image].reshape(side, size // side, side, size // side, 3)
        np.testing.assert_allclose(own, blocks.mean(axis=(1, 3)), atol=1)
