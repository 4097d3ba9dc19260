"""A small network, its recipe, its training, and the digest of its weights."""

from __future__ import annotations

import hashlib
from typing import Any

from stages.model import network, training
from stages.model.backend import keras
from stages.model.settings import Train
from stages.model.training import Trained
from stages.splits.packed import Split
from tests.defaults import SETTINGS

SMALL = SETTINGS.model.model_copy(update={"filters": (4, 8), "dense": (16,)})


def recipe(**changes: Any) -> Train:
    return Train.model_validate(SETTINGS.train.model_dump() | {"batch_size": 8, "epochs": 3, "parts": 2} | changes)


def build(seed: int = 1, **changes: Any) -> keras.Model:
    keras.utils.set_random_seed(seed)
    return network.build(SMALL.model_copy(update=changes), image_size=16, classes=3)


def train(train: Split, validation: Split, by: Train, seed: int = 1, **changes: Any) -> Trained:
    """Train the small network, with ``changes`` of its parameters, by the recipe ``by``."""
    return training.train(SMALL.model_copy(update=changes), by, seed, train, validation)


def digest(model: keras.Model) -> str:
    return hashlib.md5(b"".join(weights.tobytes() for weights in model.get_weights())).hexdigest()
