"""The programs that train the default network, epoch by epoch, each through its own code path.

A contender is a function that trains and calls ``epoch_done(loss)`` with the training loss after each epoch and its
validation; the call returns when the next epoch shall begin. So contenders run in turn on one machine, and what slows
the machine down for a while slows all of them.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np

from stages.common import parameters
from stages.common.console import Progress

EpochDone = Callable[[float], None]
ENDLESS = 100_000  # epochs; the benchmark ends its contenders
SETTINGS = parameters.load()


def pipeline(folders: Path, epoch_done: EpochDone) -> None:
    """This pipeline's ``train``, its resume point included."""
    from stages.dataset import splits
    from stages.model import cores, network
    from stages.model.backend import keras
    from stages.model.fitting import fit
    from stages.model.resume import ResumePoint

    class Pause(Progress):
        """Takes the line that ``fit`` says after an epoch for the epoch's end."""

        def say(self, line: str) -> None:
            epoch_done(float(line.split("loss ")[1].split(",")[0]))

    training, validation = (splits.load(f"data/verified/{split}") for split in ("train", "validation"))
    parts = cores.share(SETTINGS.model)
    keras.utils.set_random_seed(SETTINGS.seed)
    model = network.build(SETTINGS.model, SETTINGS.dataset.image_size, len(training.classes))
    never = {"early_stopping": SETTINGS.train.early_stopping.model_copy(update={"patience": ENDLESS})}
    recipe = SETTINGS.train.model_copy(update={"epochs": ENDLESS, **never})
    resume_point = ResumePoint(folders / "resume.npz", "benchmark")
    fit(model, training, validation, recipe, SETTINGS.seed, Pause("", None, "images"), resume_point, parts)


def notebook(folders: Path, epoch_done: EpochDone) -> None:
    """The notebook's way: folders of PNG files, ``image_dataset_from_directory``, ``fit`` as it comes.

    Nothing comes from ``stages.model``, which makes TensorFlow deterministic; the notebook does not.
    """
    import keras
    import tensorflow as tf
    from keras import layers

    size, batch = SETTINGS.dataset.image_size, SETTINGS.train.batch_size

    def of(name: str) -> tf.data.Dataset:
        return keras.utils.image_dataset_from_directory(
            str(folders / name), image_size=(size, size), batch_size=batch, verbose=False
        )

    first, *others = (of(name) for name in SETTINGS.dataset.train)
    training = first
    for other in others:
        training = training.concatenate(other)
    training = training.shuffle(buffer_size=1000).prefetch(buffer_size=tf.data.AUTOTUNE)
    validation = of(*SETTINGS.dataset.validation).prefetch(buffer_size=tf.data.AUTOTUNE)

    keras.utils.set_random_seed(SETTINGS.seed)
    inputs = keras.Input((size, size, 3))
    x = layers.Rescaling(1.0 / 255)(inputs)
    for filters in SETTINGS.model.filters:
        x = layers.Conv2D(filters, SETTINGS.model.kernel_size, padding="same", activation="relu")(x)
        x = layers.MaxPooling2D(SETTINGS.model.pool_size)(x)
    x = layers.Flatten()(x)
    for width in SETTINGS.model.dense:
        x = layers.Dense(width, activation="relu")(x)
    model = keras.Model(inputs, layers.Dense(len(first.class_names), activation="softmax")(x))
    optimizer = keras.optimizers.SGD(SETTINGS.train.learning_rate, momentum=SETTINGS.train.momentum)
    model.compile(loss="sparse_categorical_crossentropy", optimizer=optimizer, metrics=["accuracy"])
    done = keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: epoch_done(logs["loss"]))
    save = keras.callbacks.ModelCheckpoint(folders / "best.keras", monitor="val_loss", save_best_only=True)
    model.fit(training, epochs=ENDLESS, validation_data=validation, callbacks=[save, done], verbose=0)


def pytorch_eager(folders: Path, epoch_done: EpochDone) -> None:
    """PyTorch on the same network, data, batch and update, channels last, gathered from one array in memory."""
    _pytorch(epoch_done, compiled=False)


def pytorch_compiled(folders: Path, epoch_done: EpochDone) -> None:
    """The same through ``torch.compile``."""
    _pytorch(epoch_done, compiled=True)


def _pytorch(epoch_done: EpochDone, compiled: bool) -> None:
    import torch
    from torch import nn

    from stages.dataset import splits

    def tensors(split: str) -> tuple[torch.Tensor, torch.Tensor]:
        loaded = splits.load(f"data/verified/{split}")
        return torch.from_numpy(np.array(loaded.images)), torch.from_numpy(loaded.labels).long()

    def rescaled(batch: torch.Tensor) -> torch.Tensor:
        return batch.permute(0, 3, 1, 2).float() / 255  # in memory still channels last

    (images, labels), (val_images, val_labels) = tensors("train"), tensors("validation")
    torch.manual_seed(SETTINGS.seed)
    layers: list[nn.Module] = []
    channels, size = 3, SETTINGS.dataset.image_size
    for filters in SETTINGS.model.filters:
        layers += [nn.Conv2d(channels, filters, SETTINGS.model.kernel_size, padding="same"), nn.ReLU()]
        layers += [nn.MaxPool2d(SETTINGS.model.pool_size)]
        channels, size = filters, size // SETTINGS.model.pool_size
    width = channels * size * size
    layers.append(nn.Flatten())
    for dense in SETTINGS.model.dense:
        layers += [nn.Linear(width, dense), nn.ReLU()]
        width = dense
    model = nn.Sequential(*layers, nn.Linear(width, int(labels.max()) + 1)).to(memory_format=torch.channels_last)
    for weights in model.parameters():  # Keras's initial values; PyTorch's own learn otherwise in the first epoch
        nn.init.xavier_uniform_(weights) if weights.dim() > 1 else nn.init.zeros_(weights)
    optimizer = torch.optim.SGD(model.parameters(), SETTINGS.train.learning_rate, momentum=SETTINGS.train.momentum)
    forward = torch.compile(model) if compiled else model
    while True:
        total = torch.zeros(())
        for rows in torch.randperm(len(labels)).split(SETTINGS.train.batch_size):
            optimizer.zero_grad()
            loss = nn.functional.cross_entropy(forward(rescaled(images[rows])), labels[rows])
            loss.backward()
            optimizer.step()
            total += loss.detach() * len(rows)
        with torch.no_grad():
            for part, truth in zip(val_images.split(500), val_labels.split(500), strict=True):
                nn.functional.cross_entropy(forward(rescaled(part)), truth)
        epoch_done(float(total) / len(labels))


CONTENDERS = {each.__name__: each for each in (pipeline, notebook, pytorch_eager, pytorch_compiled)}
