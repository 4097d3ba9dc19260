"""The residual family: stages of blocks that add to what they get, batch normalisation, global pooling.

The shape is that of David Page's ResNet-9 (myrtle.ai, "How to train your ResNet", 2018). A stage pools behind its first
convolution, so that normalisation and activation see a quarter of the pixels.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field, model_validator

from stages.common.console import UserError
from stages.common.parameter_file import Fraction, Section, Width

if TYPE_CHECKING:  # imported where it is used: the check of the parameters does without TensorFlow
    from stages.model.backend import keras


class Residual(Section):
    """Its parameters; the three lists have an entry for each stage."""

    family: Literal["residual"]
    stem: Width
    filters: Annotated[tuple[Width, ...], Field(min_length=1, max_length=16)]
    blocks: tuple[Annotated[int, Field(ge=0, le=64)], ...]
    pool_sizes: tuple[Annotated[int, Field(ge=1, le=64)], ...]
    convolutions: Annotated[int, Field(ge=1, le=16)]
    global_pooling: Literal["average", "max"]
    dropout: Fraction
    mirrored_view: bool

    @model_validator(mode="after")
    def _as_many_entries_as_stages(self) -> Residual:
        if not len(self.filters) == len(self.blocks) == len(self.pool_sizes):
            raise ValueError("filters, blocks and pool_sizes should have an entry for each stage")
        return self

    def features(self, x: keras.KerasTensor) -> keras.KerasTensor:
        """From pixels, shape (size, size, 3), values 0 to 1, to the features that the last layer classifies.

        Raises:
            UserError: the stages shrink the image to nothing.
        """
        from stages.model.backend import keras

        layers = keras.layers
        x = _convolution(x, self.stem)
        for stage, (filters, blocks, pool) in enumerate(
            zip(self.filters, self.blocks, self.pool_sizes, strict=True), start=1
        ):
            if x.shape[1] < pool:
                raise UserError(
                    f"params.yaml: model.pool_sizes: stage {stage} would get an image of {x.shape[1]} pixels and needs "
                    f"{pool}; use fewer stages, smaller model.pool_sizes, or a larger dataset.image_size"
                )
            x = _convolution(x, filters, pool)
            for _ in range(blocks):
                added = x
                for _ in range(self.convolutions):
                    added = _convolution(added, filters)
                x = layers.Add()([x, added])
        x = (layers.GlobalMaxPooling2D if self.global_pooling == "max" else layers.GlobalAveragePooling2D)()(x)
        return layers.Dropout(self.dropout)(x) if self.dropout > 0 else x


def _convolution(x: keras.KerasTensor, filters: int, pool: int = 1) -> keras.KerasTensor:
    """A convolution without a bias, which batch normalisation would take away again, then pooling, and the rest."""
    from stages.model.backend import keras

    layers = keras.layers
    x = layers.Conv2D(filters, 3, padding="same", use_bias=False, kernel_initializer="he_normal")(x)
    if pool > 1:
        x = layers.MaxPooling2D(pool)(x)
    return layers.Activation("relu")(layers.BatchNormalization(momentum=0.9)(x))
