"""The network: parameters in, an untrained ``keras.Model`` out."""

from __future__ import annotations

from stages.model.backend import keras
from stages.model.settings import Model


def build(model: Model, image_size: int, classes: int) -> keras.Model:
    """The layers of the family that ``model`` names, between a rescaling of the pixels and a softmax.

    The model takes raw pixels, shape (n, image_size, image_size, 3), values 0 to 255, and rescales them itself; it
    returns probabilities, float32, shape (n, classes).

    Raises:
        UserError: the family's layers shrink the image to nothing.
    """
    inputs = keras.Input(shape=(image_size, image_size, 3))
    features = model.features(keras.layers.Rescaling(1.0 / 255)(inputs))
    return keras.Model(inputs, keras.layers.Dense(classes, activation="softmax")(features))
