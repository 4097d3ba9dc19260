"""Training: the same arithmetic and the same rules as Keras's own, and the same bytes for the same seed."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from stages.common.console import progress
from stages.model.backend import keras, tf
from stages.model.batches import epoch_order
from stages.model.fitting import fit
from stages.model.settings import Train
from stages.model.state import Plateau, TrainingState
from stages.splits.packed import Split
from tests.trainings import build, digest, recipe


def trained(
    train: Split, validation: Split, by: Train, seed: int = 1, **changes: Any
) -> tuple[keras.Model, TrainingState]:
    model = build(seed, **changes)
    with progress("test", None, "images") as shown:
        return model, fit(model, train, validation, by, seed, shown)


@pytest.mark.slow
@pytest.mark.parametrize("optimizer", ["sgd", "rmsprop", "adam"])
@pytest.mark.parametrize(("parts", "changes"), [(1, {}), (1, {"batch_normalization": True}), (2, {}), (3, {})], ids=str)
def test_an_epoch_is_the_arithmetic_of_keras_fit(
    training_split: Split, validation_split: Split, optimizer: str, parts: int, changes: dict[str, Any]
) -> None:
    by = recipe(optimizer=optimizer, epochs=1, learning_rate=0.001, parts=parts)
    ours, result = trained(training_split, validation_split, by, **changes)

    order = epoch_order(by.shuffle, training_split.folder_sizes, by.batch_size, 1, 1)
    theirs = build(**changes)
    rule = {
        "sgd": keras.optimizers.SGD(0.001, momentum=0.9),
        "rmsprop": keras.optimizers.RMSprop(0.001, momentum=0.9),
        "adam": keras.optimizers.Adam(0.001),
    }[optimizer]
    theirs.compile(rule, keras.losses.SparseCategoricalCrossentropy(), metrics=["accuracy"])
    images, labels = training_split.images.astype(np.float32), training_split.labels
    batches = [order.rows[a:b] for a, b in zip(order.bounds[:-1], order.bounds[1:], strict=True)]
    data = tf.data.Dataset.from_generator(
        lambda: ((images[rows], labels[rows]) for rows in batches),
        output_signature=(tf.TensorSpec([None, 16, 16, 3]), tf.TensorSpec([None], tf.int32)),
    ).apply(tf.data.experimental.assert_cardinality(len(batches)))
    held_out = validation_split.images.astype(np.float32), validation_split.labels
    history = theirs.fit(data, shuffle=False, verbose=0, validation_data=held_out).history

    for mine, other in zip(ours.get_weights(), theirs.get_weights(), strict=True):
        np.testing.assert_allclose(mine, other, rtol=1e-3, atol=1e-5)
    for quantity in ("loss", "accuracy", "val_loss", "val_accuracy"):
        assert getattr(result.history[0], quantity) == pytest.approx(history[quantity][0], rel=1e-4)


@pytest.mark.parametrize("seed", range(20))
def test_a_plateau_is_what_keras_callbacks_call_one(seed: int) -> None:
    """Keras's own callbacks, driven with random losses, drop and stop after the same epochs."""
    losses = np.random.default_rng(seed).normal(np.linspace(1, 0.7, 60), 0.1).tolist()
    model = build()
    model.compile(keras.optimizers.SGD(1.0))
    drop_callback = keras.callbacks.ReduceLROnPlateau(patience=3, min_delta=0.02)
    stop_callback = keras.callbacks.EarlyStopping(patience=6, min_delta=0.01)
    callbacks = keras.callbacks.CallbackList([drop_callback, stop_callback], model=model)
    drop, stop = Plateau(patience=3, min_delta=0.02), Plateau(patience=6, min_delta=0.01)
    rate = 1.0
    model.stop_training = False
    for epoch, loss in enumerate(losses):
        callbacks.on_epoch_end(epoch, {"val_loss": loss})
        if drop.reached(loss):
            drop.waited = 0
            rate *= 0.1
        stopped = stop.reached(loss)
        assert float(model.optimizer.learning_rate) == pytest.approx(rate)
        assert model.stop_training == stopped
        if stopped:
            break


@pytest.mark.slow
def test_the_same_seed_gives_the_same_weights_and_another_seed_others(
    training_split: Split, validation_split: Split
) -> None:
    for parts in (1, 2):
        by = recipe(parts=parts)
        models = [trained(training_split, validation_split, by, seed, dropout=0.3)[0] for seed in (1, 1, 2)]
        digests = [digest(model) for model in models]
        assert digests[0] == digests[1] != digests[2]


@pytest.mark.slow
def test_a_batch_of_fewer_images_than_parts_is_trained_on_like_any_other(
    training_split: Split, validation_split: Split
) -> None:
    size = len(training_split.labels) - 1  # and then a batch of one
    recipes = [recipe(epochs=1, batch_size=size, shuffle="full", parts=parts) for parts in (1, 4)]
    whole, cut = (trained(training_split, validation_split, by)[0] for by in recipes)
    for one, other in zip(whole.get_weights(), cut.get_weights(), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-6)


@pytest.mark.slow
def test_a_part_is_normalised_by_its_own_statistics_and_the_moving_ones_become_their_mean(
    training_split: Split, validation_split: Split
) -> None:
    size = len(training_split.labels)
    by = recipe(epochs=1, batch_size=size, shuffle="full", parts=2)
    ours, _ = trained(training_split, validation_split, by, batch_normalization=True)

    rows = epoch_order("full", training_split.folder_sizes, size, 1, 1).rows
    halves = []
    for part in (rows[: size // 2], rows[size // 2 :]):
        fresh = build(batch_normalization=True)
        fresh(training_split.images[part].astype(np.float32), training=True)
        halves.append([weights.numpy() for weights in fresh.non_trainable_weights])
    for mine, *parts in zip(ours.non_trainable_weights, *halves, strict=True):
        np.testing.assert_allclose(mine.numpy(), np.mean(parts, axis=0), rtol=1e-4, atol=1e-6)


@pytest.mark.slow
def test_training_ends_with_the_weights_of_its_best_epoch(training_split: Split, validation_split: Split) -> None:
    # A rate this high makes the validation loss go up and down, and early stopping ends on two epochs without a best.
    by = recipe(epochs=30, learning_rate=0.2, early_stopping={"patience": 2, "min_delta": 0.0})
    model, result = trained(training_split, validation_split, by)
    best = min(result.history, key=lambda epoch: epoch.val_loss)
    assert result.best_epoch == best.epoch < len(result.history)
    model.compile(loss="sparse_categorical_crossentropy")
    images, labels = validation_split.images.astype(np.float32), validation_split.labels
    assert model.evaluate(images, labels, verbose=0) == pytest.approx(best.val_loss, rel=1e-4)


@pytest.mark.slow
def test_the_learning_rate_drops_and_training_stops_when_nothing_improves(
    training_split: Split, validation_split: Split
) -> None:
    still = {"factor": 0.1, "patience": 2, "min_delta": 1000.0}
    by = recipe(epochs=20, learning_rate_drop=still, early_stopping={"patience": 5, "min_delta": 1000.0})
    _, result = trained(training_split, validation_split, by)
    assert result.drops == [3, 5]
    assert result.stopped_early
    assert [epoch.learning_rate for epoch in result.history] == pytest.approx([0.01] * 3 + [0.001] * 2 + [0.0001])


@pytest.mark.slow
def test_the_monitored_quantity_chooses_the_best_epoch(training_split: Split, validation_split: Split) -> None:
    by = recipe(epochs=8, learning_rate=0.1, monitor="val_accuracy")
    _, result = trained(training_split, validation_split, by)
    highest = max(epoch.val_accuracy for epoch in result.history)
    first = next(epoch.epoch for epoch in result.history if epoch.val_accuracy == highest)
    assert result.best_epoch == first
