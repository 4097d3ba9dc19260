"""The probabilities that a network gives to images."""

from __future__ import annotations

import numpy as np
import pytest

from stages.model import network
from stages.model.backend import keras
from stages.model.prediction import BATCHES_A_CALL, PREDICTION_BATCHES, predict_probabilities, predictor
from tests.defaults import SETTINGS

SMALL = SETTINGS.model.model_copy(update={"filters": (4,), "dense": (8,)})
PREDICTION_BATCH = PREDICTION_BATCHES[0]
IMAGES_A_CALL = BATCHES_A_CALL * PREDICTION_BATCH
IMAGES = np.random.default_rng(0).integers(0, 256, (IMAGES_A_CALL + PREDICTION_BATCH + 1, 8, 8, 3)).astype(np.uint8)


@pytest.fixture(scope="module")
def model() -> keras.Model:
    keras.utils.set_random_seed(1)
    return network.build(SMALL, image_size=8, classes=3)


@pytest.mark.slow
def test_the_probabilities_are_those_of_keras_predict(model: keras.Model) -> None:
    expected = model.predict(IMAGES.astype(np.float32), verbose=0)
    np.testing.assert_allclose(predict_probabilities(model, IMAGES), expected, atol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("count", [0, 1, PREDICTION_BATCH, PREDICTION_BATCH + 1, IMAGES_A_CALL])
def test_what_is_beside_an_image_changes_nothing(model: keras.Model, count: int) -> None:
    np.testing.assert_array_equal(
        predict_probabilities(model, IMAGES[:count]), predict_probabilities(model, IMAGES)[:count]
    )
    assert predictor(model)(IMAGES[:count]).shape == (count, 3)


@pytest.mark.slow
@pytest.mark.parametrize("image_size", [8, 32])
def test_an_image_is_predicted_the_same_alone_among_others_and_in_any_place(image_size: int) -> None:
    keras.utils.set_random_seed(1)
    size = {"filters": (16, 32), "dense": (128,)}
    predict = predictor(network.build(SMALL.model_copy(update=size), image_size, classes=10))
    shape = (PREDICTION_BATCH + 4, image_size, image_size, 3)
    images = np.random.default_rng(1).integers(0, 256, shape, dtype=np.uint8)
    whole = predict(images)
    for count in range(1, 8):  # as a folder of so many
        for first in (0, 1, PREDICTION_BATCH - 3):
            np.testing.assert_array_equal(predict(images[first : first + count]), whole[first : first + count])
    for shift in (1, 5, 47, PREDICTION_BATCH - 1):
        np.testing.assert_array_equal(predict(np.roll(images, shift, axis=0)), np.roll(whole, shift, axis=0))


@pytest.mark.slow
def test_a_predictor_follows_the_model(model: keras.Model) -> None:
    predict = predictor(model)
    before = predict(IMAGES[:5])
    model.set_weights([2 * weights for weights in model.get_weights()])
    after = predict(IMAGES[:5])
    assert not np.array_equal(after, before)
    np.testing.assert_allclose(after, model.predict(IMAGES[:5].astype(np.float32), verbose=0), atol=1e-6)
