"""Loss and accuracy of a network, as it then is, on a split."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable

import numpy as np

from stages.model import memory
from stages.model.backend import keras, tf
from stages.model.workers import Workers
from stages.splits import packed
from stages.splits.packed import Split

BATCHES = (100, 50, 25, 10, 5, 1)  # images; larger ones leave the processor's cache and are slower
BATCHES_A_CALL = 100


def evaluation(network: keras.Model, split: Split, workers: Workers) -> Callable[[], tuple[float, float]]:
    """A function that returns the mean cross-entropy in nats and the accuracy, 0 to 1, of ``network`` on ``split``.

    Each of ``workers`` evaluates some batches, and all of them get the figures of all batches.
    """
    size = memory.batch_size(network, BATCHES)
    a_call = size * memory.batches_a_call(split.images.shape[1], size, BATCHES_A_CALL)

    @tf.function(input_signature=[tf.TensorSpec(network.input_shape, tf.uint8), tf.TensorSpec([None], tf.int32)])
    def by_batch(images: tf.Tensor, labels: tf.Tensor) -> tf.Tensor:
        batches = -(-tf.size(labels) // size)
        sums = tf.TensorArray(tf.float32, batches, element_shape=[2])
        for batch in tf.range(batches):
            tf.autograph.experimental.set_loop_options(parallel_iterations=memory.SIDE_BY_SIDE)
            first = batch * size
            end = tf.minimum(first + size, tf.size(labels))
            rows = at_least_two(first, end)
            weight = tf.cast((end - first) / tf.size(rows), tf.float32)
            probabilities = network(tf.cast(tf.gather(images, rows), tf.float32), training=False)
            sums = sums.write(batch, weight * loss_and_correct(tf.gather(labels, rows), probabilities))
        return sums.stack()

    def evaluate() -> tuple[float, float]:
        sums = np.zeros(2)
        for first in range(0, len(split.labels), a_call):
            end = min(first + a_call, len(split.labels))
            batches = math.ceil((end - first) / size)
            share = workers.share(batches)
            rows = slice(first + size * share.start, min(first + size * share.stop, end))
            of_batches = workers.gathered(by_batch(split.images[rows], split.labels[rows]), batches).numpy()
            sums += functools.reduce(np.add, of_batches)  # one after the other, in float32
            packed.drop_pages(split.images)
        loss, accuracy = sums / len(split.labels)
        return float(loss), float(accuracy)

    return evaluate


def loss_and_correct(labels: tf.Tensor, probabilities: tf.Tensor) -> tf.Tensor:
    """The summed cross-entropy and the number of correct guesses, float32, shape (2,).

    To be called in a graph, where Keras takes the losses from the logits; outside it clips the probabilities first.
    """
    losses = keras.losses.sparse_categorical_crossentropy(labels, probabilities)
    correct = tf.argmax(probabilities, axis=1, output_type=tf.int32) == labels
    return tf.stack([tf.reduce_sum(losses), tf.reduce_sum(tf.cast(correct, tf.float32))])


def at_least_two(start: tf.Tensor, end: tf.Tensor) -> tf.Tensor:
    """The rows from ``start`` to ``end``; the first one twice where there are fewer than two.

    Convolutions fail on no image, and for a single one oneDNN chooses its kernel by the sizes of the caches.
    """
    rows = tf.range(start, tf.maximum(end, start + 1))
    return tf.repeat(rows, tf.where(tf.size(rows) == 1, 2, 1))
