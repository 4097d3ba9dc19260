"""A training: parameters and two splits in, a trained network and the course of its training out."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from stages.common import arithmetic
from stages.common.console import UserError
from stages.model import augmentation, memory, network, optimizers, steps, workers
from stages.model.backend import keras, require_temporary_files
from stages.model.batches import EpochOrder, epoch_order
from stages.model.cluster import Cluster
from stages.model.history import Epoch, Training
from stages.model.resume import ResumePoint, fingerprint
from stages.model.settings import Model, Train
from stages.model.state import TrainingState
from stages.model.steps import Batches, Steps
from stages.model.validation import evaluation
from stages.splits import packed
from stages.splits.packed import Split

# Batches per call of TensorFlow: few enough for Ctrl-C and the progress bar, many enough to hide the call's overhead.
BATCHES_A_CALL = 50


@dataclass(frozen=True)
class Trained:
    """What a training comes to: the network with the weights of its best epoch, and how it went."""

    network: keras.Model
    course: Training


def train(
    model: Model,
    recipe: Train,
    seed: int,
    training: Split,
    validation: Split,
    *,
    on_start: Callable[[keras.Model, TrainingState], None] = lambda network, state: None,
    on_images: Callable[[int], None] = lambda count: None,
    on_epoch: Callable[[TrainingState], None] = lambda state: None,
    resume_at: Path | None = None,
    cluster: Cluster | None = None,
) -> Trained:
    """Train a network by ``recipe``.

    Of both splits only some images are in memory at a time (see ``stages/model/memory.py``), so their number is limited
    by the disk. Beside them there are the weights, several times, and what the network makes of one batch.

    Args:
        on_start: is given the network and the state that the training begins with, or goes on with.
        on_images: is given the number of images that were trained on since the last call.
        on_epoch: is given the state after each epoch, once it is safe in the resume point.
        resume_at: a file that keeps the state after each epoch, and from which a killed training goes on. It is left
            there at the end: whoever has saved the network removes it.
        cluster: the workers that share the training; None: this process alone. Each has to call this function, and ends
            with the same network. The first one alone keeps the state.

    Raises:
        UserError: the network can't be built for images of this size; the training diverged; or the workers don't come
            together, have other inputs, or lose one of them.
    """
    require_temporary_files()
    inputs = fingerprint(seed, [model, recipe], [training, validation])
    with workers.together(cluster, recipe.all_reduce, inputs._asdict()) as team:
        if recipe.arithmetic == "fastest":
            arithmetic.use_all_instructions()
        keras.utils.set_random_seed(seed)
        trained = network.build(model, training.images.shape[1], len(training.classes))
        predicting = network.for_predictions(model, trained)
        optimizer = optimizers.build(recipe, trained)
        parts = team.parts(recipe.parts)
        take_steps = steps.build(trained, optimizer, recipe, _class_weights(recipe, training), parts, team)
        evaluate = evaluation(predicting, validation, team)
        point = ResumePoint(resume_at if team.first else None, inputs)
        state = point.load(trained, optimizer, team) or TrainingState.start(recipe)
        on_start(trained, state)
        on_images(len(state.history) * len(training.labels))
        while len(state.history) < recipe.epochs and not state.stopped_early:
            number = len(state.history) + 1
            order = epoch_order(recipe.shuffle, training.folder_sizes, recipe.batch_size, seed, number)
            rates = _learning_rates(recipe, state.learning_rate, number, len(order.bounds) - 1)
            drawn = augmentation.draw(recipe.augmentation, len(training.labels), training.images.shape[1], seed, number)
            loss, accuracy = _run_epoch(take_steps, training, order, drawn, rates, team.share(parts), parts, on_images)
            with _moving_average(trained, optimizer):
                epoch = Epoch(number, loss, accuracy, *evaluate(), rates[len(rates) // 2])
                if not math.isfinite(epoch.loss + epoch.val_loss):  # and so are the weights, for good
                    raise UserError(f"the training diverged in epoch {number}; lower train.learning_rate")
                state.update(epoch, recipe, trained.get_weights())
            point.save(state, trained, optimizer)
            on_epoch(state)
    trained.set_weights(state.best_weights)
    return Trained(predicting, state.course(trained.count_params()))


def _class_weights(recipe: Train, training: Split) -> NDArray[np.float32] | None:
    """float32, shape (classes,), of mean 1 over the images; as scikit-learn's ``class_weight="balanced"``."""
    if recipe.class_weights == "none":
        return None
    counts = np.bincount(training.labels, minlength=len(training.classes))
    present = np.count_nonzero(counts)
    return (len(training.labels) / (present * np.maximum(counts, 1))).astype(np.float32)


def _learning_rates(recipe: Train, rate: float, epoch: int, batches: int) -> list[float]:
    """The learning rate of each batch of ``epoch``, counted from 1: that of the batch's middle."""
    done = ((epoch - 1 + (batch + 0.5) / batches) / recipe.epochs for batch in range(batches))
    return [rate * recipe.schedule.share(share) for share in done]


def _run_epoch(
    take_steps: Steps,
    split: Split,
    order: EpochOrder,
    drawn: NDArray[np.int32],
    rates: Sequence[float],
    share: range,
    parts: int,
    on_images: Callable[[int], None],
) -> tuple[float, float]:
    """Train on all images once; their mean loss and accuracy meanwhile.

    Args:
        share: the parts of each batch that this worker computes, of ``parts``.
    """
    a_call = memory.batches_a_call(split.images.shape[1], int(np.diff(order.bounds).max()), BATCHES_A_CALL)
    calls = [slice(first, first + a_call) for first in range(0, len(rates), a_call)]
    shares = [order.share(batches, share, parts) for batches in calls]
    sums = np.zeros(2)
    packed.prefetch(split.images, shares[0][0])
    for following, (batches, (rows, cuts)) in enumerate(zip(calls, shares, strict=True), start=1):
        images = split.images[rows]
        if following < len(shares):
            packed.prefetch(split.images, shares[following][0])  # while TensorFlow works on these
        sizes = np.diff(order.bounds)[batches]
        learning_rates = np.array(rates[batches], np.float32)
        sums += take_steps(Batches(images, split.labels[rows], drawn[rows], cuts, sizes, learning_rates)).numpy()
        packed.drop_pages(split.images)
        on_images(int(sizes.sum()))
    loss, accuracy = sums / len(order.rows)
    return float(loss), float(accuracy)


@contextmanager
def _moving_average(network: keras.Model, optimizer: keras.optimizers.Optimizer) -> Iterator[None]:
    """Let the network have the moving average of its weights in the block, if the optimizer keeps one."""
    weights = network.get_weights()
    optimizer.finalize_variable_values(network.trainable_variables)
    yield
    network.set_weights(weights)
