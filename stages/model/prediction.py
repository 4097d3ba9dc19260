"""The probabilities that a network gives to images."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from stages.common.console import UserError, progress
from stages.model.backend import keras, tf

PREDICTION_BATCH = 100  # images; larger ones leave the processor's cache and are slower
IMAGES_A_CALL = 25 * PREDICTION_BATCH  # that are in memory together, and between two returns to Python


def predictor(model: keras.Model) -> Callable[[NDArray[np.uint8]], NDArray[np.float32]]:
    """A function from images to class probabilities by ``model`` as it then is.

    It takes images as uint8, shape (n, size, size, 3), RGB, and gives float32, shape (n, classes), whose rows sum to 1.
    TensorFlow runs batches side by side, and no image's probabilities depend on what else is in its batch.
    """

    @tf.function(input_signature=[tf.TensorSpec(model.input_shape, tf.uint8)])
    def probabilities(images: tf.Tensor) -> tf.Tensor:
        batches = -(-tf.shape(images)[0] // PREDICTION_BATCH)
        predicted = tf.TensorArray(tf.float32, batches, infer_shape=False, element_shape=model.output_shape)
        for batch in tf.range(batches):
            chosen = images[batch * PREDICTION_BATCH : (batch + 1) * PREDICTION_BATCH]
            predicted = predicted.write(batch, model(tf.cast(chosen, tf.float32), training=False))
        return predicted.concat()

    return lambda images: probabilities(images).numpy()


def predict_probabilities(model: keras.Model, images: NDArray[np.uint8]) -> NDArray[np.float32]:
    """The model's class probabilities for any number of images, under a progress bar.

    Args:
        images: uint8, shape (n, size, size, 3), RGB; may be a memory map.

    Returns:
        float32, shape (n, classes); each row sums to 1.

    Raises:
        UserError: the model was trained on images of another size.
    """
    size, trained = images.shape[1], model.input_shape[1]
    if size != trained:
        raise UserError(
            f"the model takes images of {trained} pixels, the split's have {size}; train it on these (`dvc repro`)"
        )
    predict = predictor(model)
    probabilities = np.empty((len(images), model.output_shape[-1]), np.float32)
    with progress("predict", len(images), "images") as shown:
        for first in range(0, len(images), IMAGES_A_CALL):
            chosen = images[first : first + IMAGES_A_CALL]
            probabilities[first : first + len(chosen)] = predict(chosen)
            shown.advance(len(chosen))
    return probabilities
