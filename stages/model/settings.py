"""The parameters ``seed``, ``model`` and ``train``: the network and how it is fitted."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from stages.common.parameter_file import Fraction, PositiveInt, Section
from stages.model.plain import Plain
from stages.model.residual import Residual
from stages.model.schedules import Schedule

Seed = Annotated[int, Field(ge=0, lt=2**32)]  # what NumPy's and TensorFlow's generators take
# A new family of networks is a file with such a class, and its name here.
Model = Annotated[Plain | Residual, Field(discriminator="family")]


class Augmentation(Section):
    """What is done to the training images; see ``stages/model/augmentation.py``."""

    mirror: Literal["none", "random", "alternating"]
    shift: Annotated[int, Field(ge=0, le=1024)]
    cutout: Annotated[int, Field(ge=0, le=1024)]


class EarlyStopping(Section):
    patience: PositiveInt
    min_delta: Annotated[float, Field(ge=0)]


class Train(Section):
    """The recipe: the examples and their order, the loss, the optimizer, and when to slow down and stop."""

    arithmetic: Literal["portable", "fastest"]
    epochs: Annotated[int, Field(ge=1, le=100_000)]
    batch_size: Annotated[int, Field(ge=1, le=1_000_000)]
    parts: Annotated[int, Field(ge=1, le=64)]
    all_reduce: Literal["gathered", "ring"]
    shuffle: Literal["windowed", "full"]
    augmentation: Augmentation
    class_weights: Literal["none", "balanced"]
    label_smoothing: Fraction
    optimizer: Literal["sgd", "rmsprop", "adam"]
    learning_rate: Annotated[float, Field(gt=0, le=1000)]
    schedule: Schedule
    momentum: Fraction
    nesterov: bool
    weight_decay: Fraction
    weight_average: Fraction
    monitor: Literal["val_loss", "val_accuracy"]
    early_stopping: EarlyStopping | None

    @model_validator(mode="after")
    def _nesterov_momentum_is_of_sgd(self) -> Train:
        if self.nesterov and not (self.optimizer == "sgd" and self.momentum > 0):
            raise ValueError("nesterov: true needs the optimizer sgd and a momentum above 0")
        return self
