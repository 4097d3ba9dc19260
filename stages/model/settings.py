"""The parameters ``seed``, ``model`` and ``train``: the network and how it is fitted."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from stages.common.parameter_file import Fraction, PositiveInt, Section

Seed = Annotated[int, Field(ge=0, lt=2**32)]  # what NumPy's and TensorFlow's generators take
# Wide enough for any network that fits in memory; a slip of the hand (a width of 10^9) is caught here instead of there.
Width = Annotated[int, Field(ge=1, le=65_536)]


class Model(Section):
    """The network: blocks of convolutions and pooling, then dense layers."""

    filters: Annotated[tuple[Width, ...], Field(min_length=1, max_length=16)]
    convolutions: Annotated[int, Field(ge=1, le=16)]
    kernel_size: Annotated[int, Field(ge=1, le=64)]
    padding: Literal["same", "valid"]
    pool_size: Annotated[int, Field(ge=1, le=64)]
    batch_normalization: bool
    dense: Annotated[tuple[Width, ...], Field(max_length=16)]
    dropout: Fraction


class LearningRateDrop(Section):
    factor: Annotated[float, Field(gt=0, lt=1)]
    patience: PositiveInt
    min_delta: Annotated[float, Field(ge=0)]


class EarlyStopping(Section):
    patience: PositiveInt
    min_delta: Annotated[float, Field(ge=0)]


class Train(Section):
    """The recipe: order of the examples, optimizer, and when to slow down and stop."""

    epochs: Annotated[int, Field(ge=1, le=100_000)]
    batch_size: Annotated[int, Field(ge=1, le=1_000_000)]
    parts: Annotated[int, Field(ge=1, le=64)]
    shuffle: Literal["windowed", "full"]
    optimizer: Literal["sgd", "rmsprop", "adam"]
    learning_rate: Annotated[float, Field(gt=0, le=1000)]
    momentum: Fraction
    monitor: Literal["val_loss", "val_accuracy"]
    learning_rate_drop: LearningRateDrop
    early_stopping: EarlyStopping
