"""Training: epochs over the data until the recipe's rules end it, the best weights kept."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from stages.common.console import Progress
from stages.model import memory
from stages.model.backend import keras, tf
from stages.model.batches import EpochOrder, epoch_order
from stages.model.resume import ResumePoint
from stages.model.settings import Train
from stages.model.state import Epoch, TrainingState
from stages.splits import packed
from stages.splits.packed import Split

# Batches that TensorFlow runs at most between two returns to Python, which cost little at this number; at each return
# the progress bar moves and Ctrl-C is heard.
BATCHES_A_CALL = 50
EVALUATION_BATCHES = (100, 50, 25, 10, 5, 1)  # images; larger ones leave the processor's cache and are slower
EVALUATION_BATCHES_A_CALL = 100


def fit(
    model: keras.Model,
    train: Split,
    validation: Split,
    recipe: Train,
    seed: int,
    progress: Progress,
    resume_point: ResumePoint | None = None,
) -> TrainingState:
    """Train ``model`` in place by ``recipe``; it ends with the weights of its best epoch.

    Of both splits only some images are in memory at a time (see ``stages/model/memory.py``), so their number is limited
    by the disk. Beside them there are the weights, several times, and what the network makes of one batch.

    Args:
        progress: advanced by the images trained on; given a line at the end of each epoch.
        resume_point: where the state is kept after each epoch, and taken up from; None keeps it nowhere.
    """
    optimizer = _optimizer(recipe)
    optimizer.build(model.trainable_variables)
    train_batches = _training(model, optimizer, recipe.parts)
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
    a_call = memory.batches_a_call(split.images.shape[1], int(np.diff(order.bounds).max()), BATCHES_A_CALL)
    sums = np.zeros(2)
    for first in range(0, batches, a_call):
        bounds = order.bounds[first : first + a_call + 1]
        rows = order.rows[bounds[0] : bounds[-1]]
        sums += train_batches(split.images[rows], split.labels[rows], bounds - bounds[0]).numpy()
        packed.release(split.images)
        progress.advance(len(rows))
    loss, accuracy = sums / len(order.rows)
    return float(loss), float(accuracy)


def _training(model: keras.Model, optimizer: keras.optimizers.Optimizer, parts: int) -> _TrainBatches:
    """A function that trains on images, uint8, and labels, int32, cut into batches at the given bounds, int32.

    It returns the summed loss and the correct guesses. Many batches are one call of TensorFlow: the loop is then bound
    by the network's arithmetic and not by Python or an input queue.

    Each batch is cut into ``parts``, as over the replicas of data-parallel training. A part is one core's work from its
    images to its gradients, so cores don't wait for each other at the end of every operation. The parts' gradients
    are summed in the parts' order, and the moving statistics of batch normalisation become the mean of theirs, so the
    number of cores changes no bit.
    """
    if tf.config.list_physical_devices("GPU"):
        parts = 1  # a GPU shares a whole batch among its own cores, and rounds in a way of its own
    statistics = model.non_trainable_weights  # of batch normalisation

    def part_of_batch(
        images: tf.Tensor, labels: tf.Tensor, weight: tf.Tensor, batch_size: tf.Tensor
    ) -> list[tf.Tensor]:
        """What the part adds to the gradient of each variable, to each moving statistic, and to the sums.

        Args:
            weight: of each of the images, from 0 to 1.
        """
        with tf.GradientTape() as tape:
            probabilities = model(tf.cast(images, tf.float32), training=True)
            losses = keras.losses.sparse_categorical_crossentropy(labels, probabilities)
            share_of_mean = weight * tf.reduce_sum(losses) / batch_size
        gradients = tape.gradient(share_of_mean, model.trainable_variables)
        share = weight * tf.cast(tf.size(labels), tf.float32) / batch_size
        sums = weight * _loss_and_correct(losses, probabilities, labels)
        return [*gradients, *(share * statistic.value for statistic in statistics), sums]

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
            batch_size = tf.cast(size, tf.float32)
            before = [tf.identity(statistic.value) for statistic in statistics]
            of_parts = []
            for start, end in itertools.pairwise(cuts):
                _assign(statistics, before)
                chosen = _at_least_two(start, end)
                weight = tf.cast((end - start) / tf.size(chosen), tf.float32)
                part = part_of_batch(tf.gather(images, chosen), tf.gather(labels, chosen), weight, batch_size)
                of_parts.append(part)
            *summed, batch_sums = map(tf.add_n, zip(*of_parts, strict=True))
            gradients, means = summed[: len(model.trainable_variables)], summed[len(model.trainable_variables) :]
            optimizer.apply_gradients(zip(gradients, model.trainable_variables, strict=True))
            _assign(statistics, means)
            sums += batch_sums
        return sums

    return train_batches


def _at_least_two(start: tf.Tensor, end: tf.Tensor) -> tf.Tensor:
    """The rows from ``start`` to ``end``; the first one twice where there are fewer than two.

    Convolutions fail on no image, and for a single one oneDNN chooses its kernel by the sizes of the caches.
    """
    rows = tf.range(start, tf.maximum(end, start + 1))
    return tf.repeat(rows, tf.where(tf.size(rows) == 1, 2, 1))


def _assign(variables: list[keras.Variable], values: list[tf.Tensor]) -> None:
    for variable, value in zip(variables, values, strict=True):
        variable.assign(value)


def evaluation(model: keras.Model, split: Split) -> Callable[[], tuple[float, float]]:
    """A function that returns the mean loss and the accuracy of the model, as it then is, on ``split``."""
    size = memory.batch_size(model, EVALUATION_BATCHES)
    a_call = size * memory.batches_a_call(split.images.shape[1], size, EVALUATION_BATCHES_A_CALL)

    @tf.function(input_signature=[tf.TensorSpec(model.input_shape, tf.uint8), tf.TensorSpec([None], tf.int32)])
    def summed(images: tf.Tensor, labels: tf.Tensor) -> tf.Tensor:
        sums = tf.zeros(2)
        for first in tf.range(0, tf.size(labels), size):
            tf.autograph.experimental.set_loop_options(parallel_iterations=memory.SIDE_BY_SIDE)
            end = tf.minimum(first + size, tf.size(labels))
            rows = _at_least_two(first, end)
            batch_labels = tf.gather(labels, rows)
            probabilities = model(tf.cast(tf.gather(images, rows), tf.float32), training=False)
            # In a graph, as in `fit`, Keras takes the losses from the logits; outside it clips the probabilities first.
            losses = keras.losses.sparse_categorical_crossentropy(batch_labels, probabilities)
            weight = tf.cast((end - first) / tf.size(rows), tf.float32)
            sums += weight * _loss_and_correct(losses, probabilities, batch_labels)
        return sums

    def evaluate() -> tuple[float, float]:
        sums = np.zeros(2)
        for first, images in enumerate(packed.pieces(split.images, a_call)):
            sums += summed(images, split.labels[first * a_call : (first + 1) * a_call]).numpy()
        loss, accuracy = sums / len(split.labels)
        return float(loss), float(accuracy)

    return evaluate


def _loss_and_correct(losses: tf.Tensor, probabilities: tf.Tensor, labels: tf.Tensor) -> tf.Tensor:
    correct = tf.argmax(probabilities, axis=1, output_type=tf.int32) == labels
    return tf.stack([tf.reduce_sum(losses), tf.reduce_sum(tf.cast(correct, tf.float32))])
