"""Training: epochs over the data until the recipe's rules end it, the best weights kept."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

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
EVALUATION_BATCH = 500  # images; larger ones leave the processor's cache and are slower


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

    Args:
        progress: advanced by the images trained on; given a line at the end of each epoch.
        resume_point: where the state is kept after each epoch, and taken up from; None keeps it nowhere.
    """
    optimizer = _optimizer(recipe)
    optimizer.build(model.trainable_variables)
    train_batches = _training(model, optimizer, train)
    evaluate = evaluation(model, validation)
    state = (resume_point and resume_point.load(model, optimizer)) or TrainingState.start(recipe)
    progress.advance(len(state.history) * len(train.labels))
    while len(state.history) < recipe.epochs and not state.stopped_early:
        number = len(state.history) + 1
        order = epoch_order(recipe.shuffle, train.folder_sizes, recipe.batch_size, seed, number)
        optimizer.learning_rate = state.learning_rate
        loss, accuracy = _run_epoch(train_batches, order, progress)
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


def _run_epoch(
    train_batches: Callable[[tf.Tensor, tf.Tensor], tf.Tensor], order: EpochOrder, progress: Progress
) -> tuple[float, float]:
    rows = tf.constant(order.rows)
    batches = len(order.bounds) - 1
    sums = np.zeros(2)
    for first in range(0, batches, BATCHES_A_CALL):
        bounds = order.bounds[first : first + BATCHES_A_CALL + 1]
        sums += train_batches(rows, tf.constant(bounds)).numpy()
        progress.advance(int(bounds[-1] - bounds[0]))
    loss, accuracy = sums / len(order.rows)
    return float(loss), float(accuracy)


def _training(
    model: keras.Model, optimizer: keras.optimizers.Optimizer, split: Split
) -> Callable[[tf.Tensor, tf.Tensor], tf.Tensor]:
    """A function of rows and bounds that trains on those batches and returns their summed loss and correct guesses.

    Many batches are one call of TensorFlow, and each is gathered from the whole array in memory: the loop is then
    bound by the network's arithmetic and not by Python or an input queue.
    """
    images, labels = tf.constant(split.images), tf.constant(split.labels)

    @tf.function(input_signature=[tf.TensorSpec([None], tf.int32)] * 2)
    def train_batches(rows: tf.Tensor, bounds: tf.Tensor) -> tf.Tensor:
        sums = tf.zeros(2)
        for batch in tf.range(tf.size(bounds) - 1):
            chosen = rows[bounds[batch] : bounds[batch + 1]]
            batch_labels = tf.gather(labels, chosen)
            with tf.GradientTape() as tape:
                probabilities = model(tf.cast(tf.gather(images, chosen), tf.float32), training=True)
                losses = keras.losses.sparse_categorical_crossentropy(batch_labels, probabilities)
                loss = tf.reduce_mean(losses)
            gradients = tape.gradient(loss, model.trainable_variables)
            optimizer.apply_gradients(zip(gradients, model.trainable_variables, strict=True))
            sums += _loss_and_correct(losses, probabilities, batch_labels)
        return sums

    return train_batches


def evaluation(model: keras.Model, split: Split) -> Callable[[], tuple[float, float]]:
    """A function that returns the mean loss and the accuracy of the model, as it then is, on ``split``."""
    images, labels = tf.constant(split.images), tf.constant(split.labels)

    @tf.function(input_signature=[])
    def summed() -> tf.Tensor:
        sums = tf.zeros(2)
        for first in tf.range(0, len(labels), EVALUATION_BATCH):
            batch_labels = labels[first : first + EVALUATION_BATCH]
            batch_images = tf.cast(images[first : first + EVALUATION_BATCH], tf.float32)
            probabilities = model(batch_images, training=False)
            losses = keras.losses.sparse_categorical_crossentropy(batch_labels, probabilities)
            sums += _loss_and_correct(losses, probabilities, batch_labels)
        return sums

    def evaluate() -> tuple[float, float]:
        loss, accuracy = summed().numpy() / len(labels)
        return float(loss), float(accuracy)

    return evaluate


def _loss_and_correct(losses: tf.Tensor, probabilities: tf.Tensor, labels: tf.Tensor) -> tf.Tensor:
    correct = tf.argmax(probabilities, axis=1, output_type=tf.int32) == labels
    return tf.stack([tf.reduce_sum(losses), tf.reduce_sum(tf.cast(correct, tf.float32))])
