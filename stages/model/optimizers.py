"""The optimizer that a recipe asks for."""

from __future__ import annotations

from typing import Any

from stages.model.backend import keras
from stages.model.settings import Train


def build(recipe: Train, network: keras.Model) -> keras.optimizers.Optimizer:
    """Keras's optimizer for the variables of ``network``, with all of its own variables made.

    Weight decay is decoupled from the gradient (Loshchilov and Hutter, 2019) and multiplied by the learning rate. It
    leaves biases and batch normalisation alone, as is usual (He et al., "Bag of Tricks", 2019).
    """
    options: dict[str, Any] = {}
    if recipe.weight_decay:
        options |= {"weight_decay": recipe.weight_decay}
    if recipe.weight_average:
        options |= {"use_ema": True, "ema_momentum": recipe.weight_average}
    if recipe.optimizer == "sgd":
        options |= {"momentum": recipe.momentum, "nesterov": recipe.nesterov}
        optimizer = keras.optimizers.SGD(recipe.learning_rate, **options)
    elif recipe.optimizer == "rmsprop":
        optimizer = keras.optimizers.RMSprop(recipe.learning_rate, momentum=recipe.momentum, **options)
    else:
        optimizer = keras.optimizers.Adam(recipe.learning_rate, **options)
    weights = network.trainable_variables
    if recipe.weight_decay:
        optimizer.exclude_from_weight_decay([variable for variable in weights if len(variable.shape) == 1])
    optimizer.build(weights)
    return optimizer
