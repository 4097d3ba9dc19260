"""The plain family: blocks of convolutions and max pooling, then dense layers. Its defaults are the notebook's."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from stages.common.console import UserError
from stages.common.parameter_file import Fraction, Section, Width

if TYPE_CHECKING:  # imported where it is used: the check of the parameters does without TensorFlow
    from stages.model.backend import keras


class Plain(Section):
    """Its parameters."""

    family: Literal["plain"]
    filters: Annotated[tuple[Width, ...], Field(min_length=1, max_length=16)]
    convolutions: Annotated[int, Field(ge=1, le=16)]
    kernel_size: Annotated[int, Field(ge=1, le=64)]
    padding: Literal["same", "valid"]
    pool_size: Annotated[int, Field(ge=1, le=64)]
    batch_normalization: bool
    dense: Annotated[tuple[Width, ...], Field(max_length=16)]
    dropout: Fraction
    mirrored_view: bool

    def features(self, x: keras.KerasTensor) -> keras.KerasTensor:
        """From pixels, shape (size, size, 3), values 0 to 1, to the features that the last layer classifies.

        Raises:
            UserError: the blocks shrink the image to nothing.
        """
        from stages.model.backend import keras

        layers = keras.layers
        for block, filters in enumerate(self.filters, start=1):
            for _ in range(self.convolutions):
                _check_size(x, self.kernel_size if self.padding == "valid" else 1, block)
                if self.batch_normalization:
                    x = layers.Conv2D(filters, self.kernel_size, padding=self.padding)(x)
                    x = layers.BatchNormalization()(x)
                    x = layers.Activation("relu")(x)
                else:
                    x = layers.Conv2D(filters, self.kernel_size, padding=self.padding, activation="relu")(x)
            _check_size(x, self.pool_size, block)
            x = layers.MaxPooling2D(self.pool_size)(x)
        x = layers.Flatten()(x)
        for width in self.dense:
            x = layers.Dense(width, activation="relu")(self._with_dropout(x))
        return self._with_dropout(x)

    def _with_dropout(self, x: keras.KerasTensor) -> keras.KerasTensor:
        from stages.model.backend import keras

        return keras.layers.Dropout(self.dropout)(x) if self.dropout > 0 else x


def _check_size(x: keras.KerasTensor, least: int, block: int) -> None:
    size = x.shape[1]
    if size < least:
        raise UserError(
            f"params.yaml: model.filters: block {block} would get an image of {size} pixels and needs {least}; "
            "use fewer blocks, a smaller model.pool_size or model.kernel_size, or a larger dataset.image_size"
        )
