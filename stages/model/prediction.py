"""The probabilities that a network gives to images."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from stages.common.console import UserError, progress
from stages.model import memory
from stages.model.backend import keras, require_temporary_files, tf
from stages.splits import packed

# Images of a batch; larger ones leave the processor's cache and are slower. With 100, 37, 12 or 2 an image's place in
# the batch changed a last bit: they leave a rest in the blocks of rows that Eigen's matrix product computes.
PREDICTION_BATCHES = (96, 48, 24, 8, 4, 2)
BATCHES_A_CALL = 25  # at most, between two returns to Python


def predictor(model: keras.Model) -> Callable[[NDArray[np.uint8]], NDArray[np.float32]]:
    """A function from images to class probabilities by ``model`` as it then is.

    It takes images as uint8, shape (n, size, size, 3), RGB, and gives float32, shape (n, classes), whose rows sum to 1.
    An image's probabilities depend neither on the other images nor on their number nor on its place among them: each
    batch is full, its last places taken by black images. TensorFlow runs batches side by side.
    """
    require_temporary_files()
    size = memory.batch_size(model, PREDICTION_BATCHES)

    @tf.function(input_signature=[tf.TensorSpec(model.input_shape, tf.uint8)])
    def probabilities(images: tf.Tensor) -> tf.Tensor:
        count = tf.shape(images)[0]
        batches = -(-count // size)
        full = tf.pad(images, [[0, batches * size - count], [0, 0], [0, 0], [0, 0]])
        predicted = tf.TensorArray(tf.float32, batches, infer_shape=False, element_shape=model.output_shape)
        for batch in tf.range(batches):
            tf.autograph.experimental.set_loop_options(parallel_iterations=memory.SIDE_BY_SIDE)
            chosen = full[batch * size : (batch + 1) * size]
            predicted = predicted.write(batch, model(tf.cast(chosen, tf.float32), training=False))
        return predicted.concat()[:count]

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
    batch = memory.batch_size(model, PREDICTION_BATCHES)
    a_call = batch * memory.batches_a_call(size, batch, BATCHES_A_CALL)
    with progress("predict", len(images), "images") as bar:
        for number, piece in enumerate(packed.pieces(images, a_call)):
            probabilities[number * a_call : (number + 1) * a_call] = predict(piece)
            bar.advance(len(piece))
    return probabilities
