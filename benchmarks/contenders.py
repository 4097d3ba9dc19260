"""The programs that train the default network, epoch by epoch, each through its own code path.

A contender is a function that trains and calls ``epoch_done(loss)`` with the training loss after each epoch and its
validation; the call returns when the next epoch shall begin. So contenders run in turn on one machine, and what slows
the machine down for a while slows all of them.

Only the pipeline's own contenders import ``stages``, which sets up the arithmetic of its process. The others run as
their authors would run them.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

EpochDone = Callable[[float], None]
Settings = dict[str, Any]  # the parameters, nested as in params.yaml
ENDLESS = 100_000  # epochs; the benchmark ends its contenders


def pipeline(settings: Settings, folders: Path, epoch_done: EpochDone, arithmetic: str = "portable") -> None:
    """This pipeline's ``train``, its resume point included."""
    from stages.common import parameter_file
    from stages.model import training
    from stages.parameters import Parameters
    from stages.splits import packed

    own = parameter_file.validated(Parameters, settings, "the benchmark's parameters")
    endless = {"arithmetic": arithmetic, "epochs": ENDLESS, "early_stopping": None}
    training.train(
        own.model,
        own.train.model_copy(update=endless),
        own.seed,
        *(packed.load(f"data/verified/{split}") for split in ("train", "validation")),
        on_epoch=lambda state: epoch_done(state.history[-1].loss),
        # Of this process alone: two contenders must not go on from each other's epochs.
        resume_at=folders / f"resume-{os.getpid()}.npz",
    )


def pipeline_fastest(settings: Settings, folders: Path, epoch_done: EpochDone) -> None:
    """The same with ``train.arithmetic: fastest``: what equal bytes everywhere cost."""
    pipeline(settings, folders, epoch_done, "fastest")


def notebook(settings: Settings, folders: Path, epoch_done: EpochDone) -> None:
    """The notebook's way: folders of PNG files, ``image_dataset_from_directory``, ``fit`` as it comes.

    TensorFlow chooses its arithmetic itself, as it does for the notebook. The network is of the plain family.
    """
    import keras
    import tensorflow as tf
    from keras import layers

    dataset, model, train = settings["dataset"], settings["model"], settings["train"]
    size, batch = dataset["image_size"], train["batch_size"]

    def images_in(name: str) -> tf.data.Dataset:
        return keras.utils.image_dataset_from_directory(
            str(folders / name), image_size=(size, size), batch_size=batch, verbose=False
        )

    first, *others = (images_in(name) for name in dataset["train"])
    training = first
    for other in others:
        training = training.concatenate(other)
    training = training.shuffle(buffer_size=1000).prefetch(buffer_size=tf.data.AUTOTUNE)
    validation = images_in(*dataset["validation"]).prefetch(buffer_size=tf.data.AUTOTUNE)

    keras.utils.set_random_seed(settings["seed"])
    inputs = keras.Input((size, size, 3))
    x = layers.Rescaling(1.0 / 255)(inputs)
    for filters in model["filters"]:
        x = layers.Conv2D(filters, model["kernel_size"], padding="same", activation="relu")(x)
        x = layers.MaxPooling2D(model["pool_size"])(x)
    x = layers.Flatten()(x)
    for width in model["dense"]:
        x = layers.Dense(width, activation="relu")(x)
    network = keras.Model(inputs, layers.Dense(len(first.class_names), activation="softmax")(x))
    optimizer = keras.optimizers.SGD(train["learning_rate"], momentum=train["momentum"])
    network.compile(loss="sparse_categorical_crossentropy", optimizer=optimizer, metrics=["accuracy"])
    done = keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: epoch_done(logs["loss"]))
    save = keras.callbacks.ModelCheckpoint(folders / "best.keras", monitor="val_loss", save_best_only=True)
    network.fit(training, epochs=ENDLESS, validation_data=validation, callbacks=[save, done], verbose=0)


def pytorch_eager(settings: Settings, folders: Path, epoch_done: EpochDone) -> None:
    """PyTorch on the same network, data, batch and update, channels last, gathered from one array in memory."""
    _pytorch(settings, epoch_done, compiled=False)


def pytorch_compiled(settings: Settings, folders: Path, epoch_done: EpochDone) -> None:
    """The same through ``torch.compile``."""
    _pytorch(settings, epoch_done, compiled=True)


def _pytorch(settings: Settings, epoch_done: EpochDone, compiled: bool) -> None:
    import torch
    from torch import nn

    from benchmarks import torch_networks

    def tensors(split: str) -> tuple[torch.Tensor, torch.Tensor]:
        images, labels = (np.load(f"data/verified/{split}/{name}.npy") for name in ("images", "labels"))
        return torch.from_numpy(images), torch.from_numpy(labels).long()

    def rescaled(batch: torch.Tensor) -> torch.Tensor:
        return batch.permute(0, 3, 1, 2).float() / 255  # in memory still channels last

    (images, labels), (val_images, val_labels) = tensors("train"), tensors("validation")
    torch.manual_seed(settings["seed"])
    network = torch_networks.build(settings["model"], images.shape[1], int(labels.max()) + 1)
    train = settings["train"]
    optimizer = torch.optim.SGD(network.parameters(), train["learning_rate"], momentum=train["momentum"])
    forward = torch.compile(network) if compiled else network
    while True:
        network.train()
        total = torch.zeros(())
        for rows in torch.randperm(len(labels)).split(train["batch_size"]):
            optimizer.zero_grad()
            loss = nn.functional.cross_entropy(forward(rescaled(images[rows])), labels[rows])
            loss.backward()
            optimizer.step()
            total += loss.detach() * len(rows)
        network.eval()
        with torch.no_grad():
            for part, truth in zip(val_images.split(500), val_labels.split(500), strict=True):
                nn.functional.cross_entropy(forward(rescaled(part)), truth)
        epoch_done(float(total) / len(labels))


CONTENDERS = {each.__name__: each for each in (pipeline, pipeline_fastest, notebook, pytorch_eager, pytorch_compiled)}
