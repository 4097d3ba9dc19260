"""The steps of a training: batches of images in, changed weights out."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from stages.model import augmentation
from stages.model.backend import keras, tf
from stages.model.settings import Train
from stages.model.validation import at_least_two, loss_and_correct
from stages.model.workers import Workers


class Batches(NamedTuple):
    """Several batches to train on, one after the other: the images of the parts that this worker computes.

    Attributes:
        images: uint8, shape (n, size, size, 3).
        labels: int32, shape (n,).
        drawn: int32, shape (n, columns): what is drawn for each image; see :func:`augmentation.draw`.
        cuts: int32, shape (batches, parts + 1): the rows in which each part of each batch begins and ends.
        sizes: int32, shape (batches,): how many images each batch has, with those of all workers.
        learning_rates: float32, shape (batches,).
    """

    images: NDArray[np.uint8]
    labels: NDArray[np.int32]
    drawn: NDArray[np.int32]
    cuts: NDArray[np.int32]
    sizes: NDArray[np.int32]
    learning_rates: NDArray[np.float32]


# To the summed loss and the number of correct guesses, float32, shape (2,), of all parts of all workers.
Steps = Callable[[Batches], tf.Tensor]


def build(
    network: keras.Model,
    optimizer: keras.optimizers.Optimizer,
    recipe: Train,
    class_weights: NDArray[np.float32] | None,
    parts: int,
    workers: Workers,
) -> Steps:
    """A function that takes an optimizer's step for each of several batches.

    Several batches are one call of TensorFlow: the loop is then bound by the network's arithmetic and not by Python or
    an input queue.

    Each batch is cut into ``parts``, as over the replicas of data-parallel training. A part is one core's work from its
    images to its gradients, so cores don't wait for each other at the end of every operation. The parts' gradients are
    summed in the parts' order, and the moving statistics of batch normalisation become the mean of theirs, so neither
    the number of cores nor that of workers changes a bit. Of several GPUs each computes a part.

    Args:
        class_weights: float32, shape (classes,): how much an image of each class counts; None: all the same.
        workers: those that share the parts.
    """
    statistics = network.non_trainable_weights  # of batch normalisation
    generators = [variable for variable in network.variables if "seed_generator" in variable.path]  # of dropout
    weights = network.trainable_variables
    share = workers.share(parts)

    def minimised(labels: tf.Tensor, probabilities: tf.Tensor) -> tf.Tensor:
        """The loss of each image: its cross-entropy, with smoothed labels and weighted by its class if asked for."""
        if recipe.label_smoothing:
            targets = tf.one_hot(labels, probabilities.shape[-1])
            losses = keras.losses.categorical_crossentropy(
                targets, probabilities, label_smoothing=recipe.label_smoothing
            )
        else:
            losses = keras.losses.sparse_categorical_crossentropy(labels, probabilities)
        return losses if class_weights is None else losses * tf.gather(class_weights, labels)

    def part_of_batch(
        images: tf.Tensor, labels: tf.Tensor, drawn: tf.Tensor, weight: tf.Tensor, batch_size: tf.Tensor
    ) -> list[tf.Tensor]:
        """What the part adds to the gradient of each variable, to each moving statistic, and to the sums.

        Args:
            weight: of each of the images, from 0 to 1.
        """
        images = tf.cast(augmentation.augment(recipe.augmentation, images, drawn), tf.float32)
        with tf.GradientTape() as tape:
            probabilities = network(images, training=True)
            share_of_mean = weight * tf.reduce_sum(minimised(labels, probabilities)) / batch_size
        gradients = tape.gradient(share_of_mean, weights)
        weight_in_batch = weight * tf.cast(tf.size(labels), tf.float32) / batch_size
        sums = weight * loss_and_correct(labels, probabilities)
        return [*gradients, *(weight_in_batch * statistic.value for statistic in statistics), sums]

    @tf.function(
        input_signature=[
            tf.TensorSpec(network.input_shape, tf.uint8),
            tf.TensorSpec([None], tf.int32),
            tf.TensorSpec([None, augmentation.COLUMNS], tf.int32),
            tf.TensorSpec([None, len(share) + 1], tf.int32),
            tf.TensorSpec([None], tf.int32),
            tf.TensorSpec([None], tf.float32),
        ]
    )
    def steps(
        images: tf.Tensor,
        labels: tf.Tensor,
        drawn: tf.Tensor,
        cuts: tf.Tensor,
        sizes: tf.Tensor,
        learning_rates: tf.Tensor,
    ) -> tf.Tensor:
        sums = tf.zeros(2)
        for batch in tf.range(tf.size(sizes)):
            batch_size = tf.cast(sizes[batch], tf.float32)
            before = [tf.identity(statistic.value) for statistic in statistics]
            drawn_before = [tf.identity(generator.value) for generator in generators]
            results = []
            for number, (start, end) in zip(share, itertools.pairwise(tf.unstack(cuts[batch])), strict=True):
                _assign(statistics, before)
                _assign(generators, [_after_parts(state, number) for state in drawn_before])
                rows = at_least_two(start, end)
                weight = tf.cast((end - start) / tf.size(rows), tf.float32)
                part = tf.gather(images, rows), tf.gather(labels, rows), tf.gather(drawn, rows)
                with workers.place(number):
                    results.append(part_of_batch(*part, weight=weight, batch_size=batch_size))
            *summed, batch_sums = workers.summed(results, parts)
            _assign(generators, [_after_parts(state, parts) for state in drawn_before])
            optimizer.learning_rate = learning_rates[batch]
            optimizer.apply_gradients(zip(summed[: len(weights)], weights, strict=True))
            _assign(statistics, summed[len(weights) :])
            sums += batch_sums
        return sums

    return lambda batches: steps(*batches)


def _after_parts(state: tf.Tensor, parts: int) -> tf.Tensor:
    """The state of a generator of Keras's, a seed and a counter, after so many parts, each of which it counts."""
    return state + tf.constant([0, parts], state.dtype)


def _assign(variables: list[keras.Variable], values: list[tf.Tensor]) -> None:
    for variable, value in zip(variables, values, strict=True):
        variable.assign(value)
