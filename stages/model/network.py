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


def for_predictions(model: Model, network: keras.Model) -> keras.Model:
    """What is evaluated and saved of ``network``, by :func:`build`: itself, or a model that shows it two views.

    With ``model.mirrored_view`` the probabilities are the mean of those for an image and for its mirror image. Both
    views are layers of the model, which shares all weights with ``network``.
    """
    if not model.mirrored_view:
        return network
    inputs = keras.Input(shape=network.input_shape[1:])
    views = inputs, keras.ops.flip(inputs, axis=2)
    return keras.Model(inputs, keras.layers.Average()([network(view) for view in views]))
