"""The network: parameters in, an untrained ``keras.Model`` out."""

from __future__ import annotations

from stages.common.console import UserError
from stages.model.backend import keras
from stages.model.settings import Model


def build(model: Model, image_size: int, classes: int) -> keras.Model:
    """Blocks of convolutions and max pooling, then dense layers and a softmax.

    The model takes raw pixels, shape (n, image_size, image_size, 3), values 0 to 255, and rescales them itself; it
    returns probabilities, float32, shape (n, classes). The defaults are the notebook's network of 156,074 parameters.

    Raises:
        UserError: the blocks shrink the image to nothing.
    """
    layers = keras.layers
    inputs = keras.Input(shape=(image_size, image_size, 3))
    x = layers.Rescaling(1.0 / 255)(inputs)
    for block, filters in enumerate(model.filters, start=1):
        for _ in range(model.convolutions):
            _check_size(x, model.kernel_size if model.padding == "valid" else 1, block)
            if model.batch_normalization:
                x = layers.Conv2D(filters, model.kernel_size, padding=model.padding)(x)
                x = layers.BatchNormalization()(x)
                x = layers.Activation("relu")(x)
            else:
                x = layers.Conv2D(filters, model.kernel_size, padding=model.padding, activation="relu")(x)
        _check_size(x, model.pool_size, block)
        x = layers.MaxPooling2D(model.pool_size)(x)
    x = layers.Flatten()(x)
    for width in model.dense:
        x = _with_dropout(x, model.dropout)
        x = layers.Dense(width, activation="relu")(x)
    outputs = layers.Dense(classes, activation="softmax")(_with_dropout(x, model.dropout))
    return keras.Model(inputs, outputs)


def _with_dropout(x: keras.KerasTensor, rate: float) -> keras.KerasTensor:
    return keras.layers.Dropout(rate)(x) if rate > 0 else x


def _check_size(x: keras.KerasTensor, least: int, block: int) -> None:
    size = x.shape[1]
    if size < least:
        raise UserError(
            f"params.yaml: model.filters: block {block} would get an image of {size} pixels and needs {least}; "
            "use fewer blocks, a smaller model.pool_size or model.kernel_size, or a larger dataset.image_size"
        )
