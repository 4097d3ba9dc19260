"""Training: epochs over the data, a learning rate that drops on a plateau, early stopping, the best weights kept.

The rules are those of Keras's ``ReduceLROnPlateau``, ``EarlyStopping`` and ``ModelCheckpoint``, which the notebook
uses; here their counters are plain values beside the weights, so that the whole state of a training can be seen.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from stages.common.console import Progress
from stages.common.parameters import Train
from stages.dataset.splits import Split
from stages.model.backend import keras, tf
from stages.model.batches import EpochOrder, epoch_order

# Batches that TensorFlow runs between two returns to Python, which cost little at this number; at each return the
# progress bar moves and Ctrl-C is heard.
BATCHES_A_CALL = 50
EVALUATION_BATCH = 500  # images; larger ones leave the processor's cache and are slower


@dataclass(frozen=True)
class Epoch:
    """What one epoch ended with; losses are mean cross-entropies in nats, accuracies are shares from 0 to 1.

    ``loss`` and ``accuracy`` are means over the epoch's training examples, taken while the weights change, as Keras
    reports them; ``learning_rate`` is the one that the epoch was trained with.
    """

    epoch: int
    loss: float
    accuracy: float
    val_loss: float
    val_accuracy: float
    learning_rate: float


@dataclass
class Plateau:
    """Counts the epochs in a row without an improvement by more than ``min_delta``; lower values are better."""

    patience: int
    min_delta: float
    best: float = np.inf
    waited: int = 0

    def reached(self, value: float) -> bool:
        """Take in an epoch's value; whether ``patience`` epochs have now passed without an improvement."""
        if value < self.best - self.min_delta:
            self.best, self.waited = value, 0
            return False
        self.waited += 1
        return self.waited >= self.patience


@dataclass
class Fit:
    """The state of a training after its last finished epoch."""

    learning_rate: float
    drop: Plateau
    stop: Plateau
    history: list[Epoch] = field(default_factory=list)
    drops: list[int] = field(default_factory=list)  # epochs after which the learning rate dropped
    best: float = np.inf  # lowest monitored value so far
    best_epoch: int = 0
    best_weights: list[NDArray[np.float32]] = field(default_factory=list)
    stopped_early: bool = False


def fit(model: keras.Model, train: Split, validation: Split, recipe: Train, seed: int, progress: Progress) -> Fit:
    """Train ``model`` in place by ``recipe``; it ends with the weights of its best epoch.

    Args:
        progress: advanced by the images trained on; given a line at the end of each epoch.
    """
    optimizer = _optimizer(recipe)
    optimizer.build(model.trainable_variables)
    train_batches = _training(model, optimizer, train)
    evaluate = evaluation(model, validation)
    state = Fit(
        learning_rate=recipe.learning_rate,
        drop=Plateau(recipe.learning_rate_drop.patience, recipe.learning_rate_drop.min_delta),
        stop=Plateau(recipe.early_stopping.patience, recipe.early_stopping.min_delta),
    )
    while len(state.history) < recipe.epochs and not state.stopped_early:
        number = len(state.history) + 1
        order = epoch_order(recipe.shuffle, train.folder_sizes, recipe.batch_size, seed, number)
        optimizer.learning_rate = state.learning_rate
        loss, accuracy = _run_epoch(train_batches, order, progress)
        val_loss, val_accuracy = evaluate()
        epoch = Epoch(number, loss, accuracy, val_loss, val_accuracy, state.learning_rate)
        _take_in(state, epoch, recipe, model)
        progress.say(_in_words(epoch, state))
    model.set_weights(state.best_weights)
    return state


def _take_in(state: Fit, epoch: Epoch, recipe: Train, model: keras.Model) -> None:
    """Keep the best weights, drop the learning rate, or stop: what the end of an epoch calls for."""
    state.history.append(epoch)
    value = epoch.val_loss if recipe.monitor == "val_loss" else -epoch.val_accuracy
    if value < state.best or not state.best_weights:
        state.best, state.best_epoch, state.best_weights = value, epoch.epoch, model.get_weights()
    if state.drop.reached(value):
        state.drop.waited = 0
        state.drops.append(epoch.epoch)
        state.learning_rate *= recipe.learning_rate_drop.factor
    state.stopped_early = state.stop.reached(value)


def _in_words(epoch: Epoch, state: Fit) -> str:
    line = (
        f"epoch {epoch.epoch:2}: loss {epoch.loss:.4f}, accuracy {epoch.accuracy:.2%}; "
        f"validation loss {epoch.val_loss:.4f}, accuracy {epoch.val_accuracy:.2%}"
    )
    if state.best_epoch == epoch.epoch:
        line += "; best so far"
    if epoch.epoch in state.drops:
        line += f"; learning rate drops to {state.learning_rate:.2g}"
    if state.stopped_early:
        line += f"; stopped early, best epoch {state.best_epoch}"
    return line


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
