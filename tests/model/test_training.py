"""Training: the same arithmetic and the same rules as Keras's own, and the same bytes for the same seed."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.utils.class_weight import compute_class_weight

from stages.common.console import UserError
from stages.model import optimizers
from stages.model.backend import keras, tf
from stages.model.batches import epoch_order
from stages.model.state import Patience
from stages.model.training import _learning_rates
from stages.splits.packed import Split
from tests.trainings import build, digest, recipe, train


@pytest.mark.slow
@pytest.mark.parametrize("optimizer", ["sgd", "rmsprop", "adam"])
@pytest.mark.parametrize(("parts", "changes"), [(1, {}), (1, {"batch_normalization": True}), (2, {}), (3, {})], ids=str)
def test_an_epoch_is_the_arithmetic_of_keras_fit(
    training_split: Split, validation_split: Split, optimizer: str, parts: int, changes: dict[str, Any]
) -> None:
    by = recipe(optimizer=optimizer, epochs=1, learning_rate=0.001, parts=parts)
    ours = train(training_split, validation_split, by, **changes)

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

    for mine, other in zip(ours.network.get_weights(), theirs.get_weights(), strict=True):
        np.testing.assert_allclose(mine, other, rtol=1e-3, atol=1e-5)
    for quantity in ("loss", "accuracy", "val_loss", "val_accuracy"):
        assert getattr(ours.course.epochs[0], quantity) == pytest.approx(history[quantity][0], rel=1e-4)


@pytest.mark.slow
def test_a_training_that_diverges_ends_there(training_split: Split, validation_split: Split) -> None:
    diverging = recipe(epochs=9, learning_rate=100, weight_decay=0.05, early_stopping=None)
    with pytest.raises(UserError, match=r"^the training diverged in epoch [1-8]; lower train.learning_rate$"):
        train(training_split, validation_split, diverging)


@pytest.mark.parametrize("seed", range(20))
def test_a_plateau_is_what_keras_callbacks_call_one(seed: int) -> None:
    """Keras's own callbacks, driven with random losses, drop and stop after the same epochs."""
    losses = np.random.default_rng(seed).normal(np.linspace(1, 0.7, 60), 0.1).tolist()
    model = build()
    model.compile(keras.optimizers.SGD(1.0))
    drop_callback = keras.callbacks.ReduceLROnPlateau(patience=3, min_delta=0.02)
    stop_callback = keras.callbacks.EarlyStopping(patience=6, min_delta=0.01)
    callbacks = keras.callbacks.CallbackList([drop_callback, stop_callback], model=model)
    drop, stop = Patience(patience=3, min_delta=0.02), Patience(patience=6, min_delta=0.01)
    rate = 1.0
    model.stop_training = False
    for epoch, loss in enumerate(losses):
        callbacks.on_epoch_end(epoch, {"val_loss": loss})
        if drop.ended(loss):
            rate *= 0.1
        stopped = stop.ended(loss)
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
        networks = [train(training_split, validation_split, by, seed, dropout=0.3).network for seed in (1, 1, 2)]
        digests = [digest(network) for network in networks]
        assert digests[0] == digests[1] != digests[2]


@pytest.mark.slow
def test_a_process_alone_ends_in_the_same_weights_however_workers_would_sum(
    training_split: Split, validation_split: Split
) -> None:
    recipes = [recipe(epochs=1, parts=3, all_reduce=way) for way in ("gathered", "ring")]
    gathered, ring = (digest(train(training_split, validation_split, by).network) for by in recipes)
    assert gathered == ring


@pytest.mark.slow
def test_a_batch_of_fewer_images_than_parts_is_trained_on_like_any_other(
    training_split: Split, validation_split: Split
) -> None:
    size = len(training_split.labels) - 1  # and then a batch of one
    recipes = [recipe(epochs=1, batch_size=size, shuffle="full", parts=parts) for parts in (1, 4)]
    whole, cut = (train(training_split, validation_split, by).network for by in recipes)
    for one, other in zip(whole.get_weights(), cut.get_weights(), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-6)


@pytest.mark.slow
def test_a_part_is_normalised_by_its_own_statistics_and_the_moving_ones_become_their_mean(
    training_split: Split, validation_split: Split
) -> None:
    size = len(training_split.labels)
    by = recipe(epochs=1, batch_size=size, shuffle="full", parts=2)
    ours = train(training_split, validation_split, by, batch_normalization=True).network

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
    trained = train(training_split, validation_split, by)
    best = min(trained.course.epochs, key=lambda epoch: epoch.val_loss)
    assert trained.course.best_epoch == best.epoch < len(trained.course.epochs)
    trained.network.compile(loss="sparse_categorical_crossentropy")
    images, labels = validation_split.images.astype(np.float32), validation_split.labels
    assert trained.network.evaluate(images, labels, verbose=0) == pytest.approx(best.val_loss, rel=1e-4)


@pytest.mark.slow
def test_the_learning_rate_drops_and_training_stops_when_nothing_improves(
    training_split: Split, validation_split: Split
) -> None:
    still = {"kind": "plateau", "factor": 0.1, "patience": 2, "min_delta": 1000.0}
    by = recipe(epochs=20, schedule=still, early_stopping={"patience": 5, "min_delta": 1000.0})
    course = train(training_split, validation_split, by).course
    assert course.learning_rate_drops == (3, 5)
    assert course.stopped_early
    assert [epoch.learning_rate for epoch in course.epochs] == pytest.approx([0.01] * 3 + [0.001] * 2 + [0.0001])


@pytest.mark.slow
def test_the_monitored_quantity_chooses_the_best_epoch(training_split: Split, validation_split: Split) -> None:
    by = recipe(epochs=8, learning_rate=0.1, monitor="val_accuracy")
    course = train(training_split, validation_split, by).course
    highest = max(epoch.val_accuracy for epoch in course.epochs)
    assert course.best_epoch == next(epoch.epoch for epoch in course.epochs if epoch.val_accuracy == highest)


def test_a_schedule_by_batch_goes_on_from_epoch_to_epoch() -> None:
    by = recipe(epochs=2, learning_rate=0.5, schedule={"kind": "one_cycle", "rise": 0.5, "first": 0.0, "last": 0.0})
    assert _learning_rates(by, 0.5, 1, batches=2) == pytest.approx([0.125, 0.375])
    assert _learning_rates(by, 0.5, 2, batches=2) == pytest.approx([0.375, 0.125])


@pytest.mark.parametrize("optimizer", ["sgd", "rmsprop", "adam"])
def test_weight_decay_shrinks_kernels_and_spares_biases_and_batch_normalisation(optimizer: str) -> None:
    network = build(batch_normalization=True)
    weights = network.trainable_variables
    for variable in weights:
        variable.assign(np.ones(variable.shape))
    rule = optimizers.build(recipe(optimizer=optimizer, learning_rate=0.5, weight_decay=0.1), network)
    rule.apply_gradients([(np.zeros(variable.shape, np.float32), variable) for variable in weights])
    shrunk = {variable.name for variable in weights if not np.allclose(variable, 1)}
    assert (shrunk, {variable.name for variable in weights}) == ({"kernel"}, {"kernel", "bias", "gamma", "beta"})


@pytest.mark.slow
def test_a_step_with_every_part_of_a_recipe_is_the_arithmetic_of_keras(
    training_split: Split, validation_split: Split
) -> None:
    """Label smoothing, class weights, Nesterov momentum and decoupled weight decay, against ``train_on_batch``."""
    size = len(training_split.labels)
    constant = {"kind": "one_cycle", "rise": 0.5, "first": 0.999999, "last": 0.999999}
    by = recipe(
        epochs=1,
        batch_size=size,
        shuffle="full",
        class_weights="balanced",
        label_smoothing=0.2,
        nesterov=True,
        weight_decay=0.1,
        schedule=constant,
    )
    ours = train(training_split, validation_split, by).network

    theirs = build()
    optimizer = keras.optimizers.SGD(by.learning_rate, momentum=0.9, nesterov=True, weight_decay=0.1)
    optimizer.exclude_from_weight_decay(var_names=["bias"])
    theirs.compile(optimizer, keras.losses.CategoricalCrossentropy(label_smoothing=0.2))
    weights = compute_class_weight("balanced", classes=np.arange(3), y=training_split.labels)
    targets = np.eye(3, dtype=np.float32)[training_split.labels]
    theirs.train_on_batch(training_split.images.astype(np.float32), targets, class_weight=dict(enumerate(weights)))
    for mine, other in zip(ours.get_weights(), theirs.get_weights(), strict=True):
        np.testing.assert_allclose(mine, other, rtol=1e-4, atol=1e-6)


@pytest.mark.slow
def test_the_moving_average_of_the_weights_is_what_is_evaluated_and_saved(
    training_split: Split, validation_split: Split
) -> None:
    by = recipe(epochs=2, weight_average=0.9)
    trained = train(training_split, validation_split, by)

    network = build()
    average: list[NDArray[np.float32]] = []
    optimizer = keras.optimizers.SGD(by.learning_rate, momentum=by.momentum)
    network.compile(optimizer, "sparse_categorical_crossentropy")
    for epoch in (1, 2):
        order = epoch_order(by.shuffle, training_split.folder_sizes, by.batch_size, 1, epoch)
        for start, end in pairwise(order.bounds):
            rows = order.rows[start:end]
            network.train_on_batch(training_split.images[rows].astype(np.float32), training_split.labels[rows])
            weights = network.get_weights()
            average = [0.9 * a + 0.1 * w for a, w in zip(average, weights, strict=True)] if average else weights
    assert trained.course.best_epoch == 2
    for mine, other in zip(trained.network.get_weights(), average, strict=True):
        np.testing.assert_allclose(mine, other, rtol=1e-3, atol=1e-5)
