"""Training: epochs over the data until the recipe's rules end it, the best weights kept."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from stages.common.console import Progress
from stages.common.parameters import Train
from stages.dataset.splits import Split
from stages.model.backend import keras, tf
from stages.model.batches import EpochOrder, epoch_order
from stages.model.resume import ResumePoint
from stages.model.state import Epoch, TrainingState

# Batches that TensorFlow runs between two returns to Python, which cost little at this number; at each return the
# progress bar moves and Ctrl-C is heard.
BATCHES_A_CALL = 50
EVALUATION_BATCH = 100  # images; larger ones leave the processor's cache and are slower
EVALUATION_CALL = 100 * EVALUATION_BATCH  # images in memory together


def fit(
    model: keras.Model,
    train: Split,
    validation: Split,
    recipe: Train,
    seed: int,
    progress: Progress,
    resume_point: ResumePoint | None = None,
    parts: int = 1,
) -> TrainingState:
    """Train ``model`` in place by ``recipe``; it ends with the weights of its best epoch.

    Of both splits only the images of a few batches are in memory at a time, so their number is limited by the disk.

    Args:
        progress: advanced by the images trained on; given a line at the end of each epoch.
        resume_point: where the state is kept after each epoch, and taken up from; None keeps it nowhere.
        parts: of a batch, 1 or more, whose gradients are computed side by side (see ``stages/model/cores.py``).
    """
    optimizer = _optimizer(recipe)
    optimizer.build(model.trainable_variables)
    train_batches = _training(model, optimizer, parts)
    evaluate = evaluation(model, validation)
    state = (resume_point and resume_point.load(model, optimizer)) or TrainingState.start(recipe)
    progress.advance(len(state.history) * len(train.labels))
    while len(state.history) < recipe.epochs and not state.stopped_early:
        number = len(state.history) + 1
        order = epoch_order(recipe.shuffle, train.folder_sizes, recipe.batch_size, seed, number)
        optimizer.learning_rate = state.learning_rate
        loss, accuracy = _run_epoch(train_batches, train, order, progress)
        val_loss, val_accuracy = evaluate()
        epoch = Epoch(number, loss, accuracy, val_loss, val_accuracy, state.learning_rate)
        state.take_in(epoch, recipe, model.get_weights())
        if resume_point:
            resume_point.save(state, model, optimizer)
        progress.say(state.last_epoch_in_words())
    model.set_weights(state.best_weights)
    return state


def _optimizer(recipe: Train) -> keras.optimizers.Optimizer:
    if recipe.optimizer == "sgd":
        return keras.optimizers.SGD(recipe.learning_rate, momentum=recipe.momentum)
    if recipe.optimizer == "rmsprop":
        return keras.optimizers.RMSprop(recipe.learning_rate, momentum=recipe.momentum)
    return keras.optimizers.Adam(recipe.learning_rate)


_TrainBatches = Callable[[NDArray[np.uint8], NDArray[np.int32], NDArray[np.int32]], tf.Tensor]


def _run_epoch(
    train_batches: _TrainBatches, split: Split, order: EpochOrder, progress: Progress
) -> tuple[float, float]:
    batches = len(order.bounds) - 1
    sums = np.zeros(2)
    for first in range(0, batches, BATCHES_A_CALL):
        bounds = order.bounds[first : first + BATCHES_A_CALL + 1]
        rows = order.rows[bounds[0] : bounds[-1]]
        sums += train_batches(split.images[rows], split.labels[rows], bounds - bounds[0]).numpy()
        progress.advance(len(rows))
    loss, accuracy = sums / len(order.rows)
    return float(loss), float(accuracy)


def _training(model: keras.Model, optimizer: keras.optimizers.Optimizer, parts: int) -> _TrainBatches:
    """A function that trains on images, uint8, and labels, int32, cut into batches at the given bounds, int32.

    It returns the summed loss and the correct guesses. Many batches are one call of TensorFlow: the loop is then bound
    by the network's arithmetic and not by Python or an input queue.
    """

    def part_of_batch(
        images: tf.Tensor, labels: tf.Tensor, weight: tf.Tensor, batch_size: tf.Tensor
    ) -> list[tf.Tensor]:
        """What the part adds to the gradient of each variable, and last its summed loss and correct guesses."""
        with tf.GradientTape() as tape:
            probabilities = model(tf.cast(images, tf.float32), training=True)
            losses = keras.losses.sparse_categorical_crossentropy(labels, probabilities)
            share_of_mean = weight * tf.reduce_sum(losses) / batch_size
        gradients = tape.gradient(share_of_mean, model.trainable_variables)
        return [*gradients, weight * _loss_and_correct(losses, probabilities, labels)]

    @tf.function(
        input_signature=[
            tf.TensorSpec(model.input_shape, tf.uint8),
            tf.TensorSpec([None], tf.int32),
            tf.TensorSpec([None], tf.int32),
        ]
    )
    def train_batches(images: tf.Tensor, labels: tf.Tensor, bounds: tf.Tensor) -> tf.Tensor:
        sums = tf.zeros(2)
        for batch in tf.range(tf.size(bounds) - 1):
            size = bounds[batch + 1] - bounds[batch]
            cuts = [bounds[batch] + size * part // parts for part in range(parts + 1)]
            of_parts = []
            for start, end in itertools.pairwise(cuts):
                # A batch may have fewer images than parts, and TensorFlow's convolutions fail on none: a part without
                # images takes one that is another's, and weighs nothing.
                chosen = slice(start, tf.maximum(end, start + 1))
                weight = tf.cast(end > start, tf.float32)
                of_parts.append(part_of_batch(images[chosen], labels[chosen], weight, tf.cast(size, tf.float32)))
            *gradients, batch_sums = map(tf.add_n, zip(*of_parts, strict=True))
            optimizer.apply_gradients(zip(gradients, model.trainable_variables, strict=True))
            sums += batch_sums
        return sums

    return train_batches


def evaluation(model: keras.Model, split: Split) -> Callable[[], tuple[float, float]]:
    """A function that returns the mean loss and the accuracy of the model, as it then is, on ``split``."""

    @tf.function(input_signature=[tf.TensorSpec(model.input_shape, tf.uint8), tf.TensorSpec([None], tf.int32)])
    def summed(images: tf.Tensor, labels: tf.Tensor) -> tf.Tensor:
        sums = tf.zeros(2)
        for first in tf.range(0, tf.size(labels), EVALUATION_BATCH):
            batch_labels = labels[first : first + EVALUATION_BATCH]
            probabilities = model(tf.cast(images[first : first + EVALUATION_BATCH], tf.float32), training=False)
            # In a graph, as in `fit`, Keras takes the losses from the logits; outside it clips the probabilities first.
            losses = keras.losses.sparse_categorical_crossentropy(batch_labels, probabilities)
            sums += _loss_and_correct(losses, probabilities, batch_labels)
        return sums

    def evaluate() -> tuple[float, float]:
        sums = np.zeros(2)
        for first in range(0, len(split.labels), EVALUATION_CALL):
            chosen = slice(first, first + EVALUATION_CALL)
            sums += summed(split.images[chosen], split.labels[chosen]).numpy()
        loss, accuracy = sums / len(split.labels)
        return float(loss), float(accuracy)

    return evaluate


def _loss_and_correct(losses: tf.Tensor, probabilities: tf.Tensor, labels: tf.Tensor) -> tf.Tensor:
    correct = tf.argmax(probabilities, axis=1, output_type=tf.int32) == labels
    return tf.stack([tf.reduce_sum(losses), tf.reduce_sum(tf.cast(correct, tf.float32))])
