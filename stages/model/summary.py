"""A network as a table, a layer a row, as Keras's own ``summary`` prints it."""

from __future__ import annotations

from typing import NamedTuple

from stages.model.backend import keras


class Layer(NamedTuple):
    """One layer.

    Attributes:
        kind: the name of its class in Keras.
        output_shape: of what one image becomes in it, such as ``32, 32, 16``.
        parameters: how many numbers it holds, those that are not trained among them.
    """

    kind: str
    output_shape: str
    parameters: int


def layers(model: keras.Model) -> list[Layer]:
    """The layers of ``model`` in order, the input first."""
    return [
        Layer(type(layer).__name__, ", ".join(str(size) for size in layer.output.shape[1:]), layer.count_params())
        for layer in model.layers
    ]
