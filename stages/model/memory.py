"""How many images TensorFlow gets at a time: as many as a number of bytes holds, whatever the size of the images.

What a network makes of an image is many times larger than the image. So the images of a batch are counted by the bytes
of all its layers, and the images of a call, which wait for their turn as pixels, by :func:`packed.at_once`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from stages.model.backend import keras
from stages.model.summary import all_layers
from stages.splits import packed

LAYER_BYTES = 64 * 2**20  # of what the layers make of a batch
# Batches that TensorFlow runs side by side at most, whatever the number of cores.
SIDE_BY_SIDE = 8


def layer_bytes(model: keras.Model) -> int:
    """The bytes of what all layers of ``model`` make of one image, as float32.

    A prediction needs less at any moment, as what was used is freed; a training keeps it all for the gradients.
    """
    return 4 * sum(math.prod(layer.output.shape[1:]) for layer in all_layers(model))


def batch_size(model: keras.Model, sizes: Sequence[int]) -> int:
    """The first of ``sizes``, falling, for whose images the layers take :data:`LAYER_BYTES` at most, or the last."""
    image_bytes = layer_bytes(model)
    return next((size for size in sizes if size * image_bytes <= LAYER_BYTES), sizes[-1])


def batches_a_call(image_size: int, size: int, most: int) -> int:
    """How many batches of ``size`` images one call gets: as many as are in memory together, 1 to ``most``.

    Args:
        image_size: of the images, in pixels a side.
    """
    return max(1, min(most, packed.at_once(image_size) // size))
