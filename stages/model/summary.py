"""A network as a table, a layer a row, as Keras's own ``summary`` prints it."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from stages.common.files import write_json_rows, written_by

if TYPE_CHECKING:  # those who only read the table do without TensorFlow
    from stages.model.backend import keras


KERNELS = ("kernel", "depthwise_kernel", "pointwise_kernel")  # as Keras's layers call them


class Layer(NamedTuple):
    """One layer.

    Attributes:
        kind: the name of its class in Keras.
        output_shape: of what one image becomes in it, such as ``32, 32, 16``.
        parameters: how many numbers it holds, those that are not trained among them.
        multiply_adds: that its kernel takes for one image, 0 where it has none; the work that grows with the network.
    """

    kind: str
    output_shape: str
    parameters: int
    multiply_adds: int


def layers(model: keras.Model) -> list[Layer]:
    """The layers of ``model`` in order, the input first."""
    return [
        Layer(
            kind=type(layer).__name__,
            output_shape=", ".join(str(size) for size in layer.output.shape[1:]),
            parameters=layer.count_params(),
            multiply_adds=_multiply_adds(layer),
        )
        for layer in all_layers(model)
    ]


def all_layers(model: keras.Model) -> Iterator[keras.layers.Layer]:
    """The layers of ``model`` in order, those of a network within it in that network's place."""
    for layer in model.layers:
        yield from all_layers(layer) if hasattr(layer, "layers") else (layer,)


def _multiply_adds(layer: keras.layers.Layer) -> int:
    """Those of a convolution or a dense layer: each number of its kernels once at each place of the output."""
    kernels = [getattr(layer, name) for name in KERNELS if hasattr(layer, name)]
    return sum(math.prod(kernel.shape) for kernel in kernels) * math.prod(layer.output.shape[1:-1])


def write(path: Path, table: Sequence[Layer]) -> None:
    """Write the table, a row a line."""
    write_json_rows(path, (layer._asdict() for layer in table))


def load(path: Path) -> list[Layer]:
    """Read what :func:`write` wrote.

    Raises:
        UserError: the file is missing or is not what ``train`` writes.
    """
    with written_by("train", path):
        return [Layer(**row) for row in json.loads(path.read_text(encoding="utf-8"))]
