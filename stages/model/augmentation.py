"""Augmentation: training images mirrored, shifted and partly covered, as the seed, the epoch and the image say.

What is done to each image is drawn in NumPy and depends on nothing else, so a training that goes on after a kill sees
the images that it would have seen. It is done in TensorFlow, on the pixels of a part of a batch.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from stages.model.backend import tf
from stages.model.settings import Augmentation

GREY = 128  # of the square that covers a part, of 255
COLUMNS = 5  # of what is drawn for an image


def draw(augmentation: Augmentation, images: int, image_size: int, seed: int, epoch: int) -> NDArray[np.int32]:
    """What is done to each image of a split in ``epoch`` (counted from 1).

    Returns:
        int32, shape (images, 5): whether it is mirrored, 0 or 1; by how many pixels it is shifted down, and to the
        right; row and column of the centre of the square.
    """
    generator = np.random.default_rng([seed, epoch, 1])  # another stream than that of the order
    drawn = np.zeros((images, COLUMNS), np.int32)
    if augmentation.mirror == "random":
        drawn[:, 0] = generator.integers(2, size=images)
    elif augmentation.mirror == "alternating":
        drawn[:, 0] = (np.random.default_rng([seed, 0, 1]).integers(2, size=images) + epoch) % 2
    drawn[:, 1:3] = generator.integers(-augmentation.shift, augmentation.shift, size=(images, 2), endpoint=True)
    drawn[:, 3:] = generator.integers(image_size, size=(images, 2))
    return drawn


def augment(augmentation: Augmentation, images: tf.Tensor, drawn: tf.Tensor) -> tf.Tensor:
    """The images after what :func:`draw` drew for them.

    Args:
        images: uint8, shape (n, size, size, 3).
        drawn: int32, shape (n, 5).
    """
    size = images.shape[1]
    mirrored, down, right, row, column = (drawn[:, index, None] for index in range(COLUMNS))
    places = tf.range(size)[None]
    if augmentation.shift:
        images = tf.gather(images, _reflected(places - down, size), axis=1, batch_dims=1)
    if augmentation.shift or augmentation.mirror != "none":
        columns = _reflected(places - right, size)
        columns = tf.where(mirrored == 1, size - 1 - columns, columns)
        images = tf.gather(images, columns, axis=2, batch_dims=1)
    if augmentation.cutout:
        rows, columns = (_covered(places, centre, augmentation.cutout) for centre in (row, column))
        square = rows[:, :, None, None] & columns[:, None, :, None]
        images = tf.where(square, tf.constant(GREY, tf.uint8), images)
    return images


def _reflected(places: tf.Tensor, size: int) -> tf.Tensor:
    """Places outside of an image as those inside that a mirror at the border shows, the border pixel not repeated."""
    inside = tf.abs(places)
    return tf.clip_by_value(size - 1 - tf.abs(size - 1 - inside), 0, size - 1)


def _covered(places: tf.Tensor, centre: tf.Tensor, side: int) -> tf.Tensor:
    first = centre - side // 2
    return (places >= first) & (places < first + side)
