"""train: fits the network to the training split and keeps its best epoch.

Reads the verified splits ``train`` and ``validation`` (which chooses the best epoch, the drops of the learning rate and
the end), and the parameters ``seed``, ``model`` and ``train``. Writes the model, its layers and the history by epoch as
tables, what the training came to, and the probabilities that the model gives to the validation images. The test split
is out of its reach. A training that was killed goes on after its last finished epoch.
"""

from __future__ import annotations

import math
from dataclasses import astuple, fields
from pathlib import Path

from stages import parameters
from stages.common import parameter_file
from stages.common.console import UserError, progress, run_stage
from stages.common.files import all_or_none, write_array, write_csv, write_json
from stages.common.parameter_file import Excerpt
from stages.model import network, summary
from stages.model.backend import keras
from stages.model.fitting import fit
from stages.model.prediction import predict_probabilities
from stages.model.resume import ResumePoint, fingerprint
from stages.model.saved import load_model, save_model
from stages.model.settings import Model, Seed, Train
from stages.model.state import Epoch
from stages.splits import packed

# Beside the outs and not among them: DVC deletes a stage's outs before it runs.
RESUME_POINT = Path(".resume/train.npz")


class Settings(Excerpt):
    seed: Seed
    model: Model
    train: Train


def train() -> None:
    parameters.check()
    settings = parameter_file.load(Settings)
    training = packed.load("data/verified/train")
    validation = packed.load("data/verified/validation")
    if (training.classes, training.images.shape[1:]) != (validation.classes, validation.images.shape[1:]):
        raise UserError("the training and the validation split are of two runs of verify; run `dvc repro verify`")

    keras.utils.set_random_seed(settings.seed)
    model = network.build(settings.model, training.images.shape[1], len(training.classes))
    print(f"train: {model.count_params():,} parameters, {len(training.images):,} images", flush=True)
    inputs = fingerprint(settings.seed, [settings.model, settings.train], [training, validation])
    resume_point = ResumePoint(RESUME_POINT, inputs)
    with progress("train", settings.train.epochs * len(training.images), "images") as shown:
        result = fit(model, training, validation, settings.train, settings.seed, shown, resume_point)

    with all_or_none() as place:
        model_file = place("models/model.keras")
        save_model(model_file, model, training.classes, training.depth)
        # By the file, not by the model in memory, so that `validate` judges what was saved; and here, where TensorFlow
        # is loaded already, which would take `validate` two seconds.
        of_validation = predict_probabilities(load_model(model_file), validation.images)
        write_array(place("models/validation_probabilities.npy"), of_validation)
        summary.write(place("models/layers.json"), summary.layers(model))
        write_csv(place("metrics/history.csv"), [field.name for field in fields(Epoch)], map(astuple, result.history))
        write_json(
            place("metrics/train.json"),
            {
                "epochs": len(result.history),
                "best_epoch": result.best_epoch,
                "learning_rate_drops": result.drops,
                "stopped_early": result.stopped_early,
                "parameters": sum(math.prod(weights.shape) for weights in model.trainable_weights),
            },
        )
    resume_point.remove()


if __name__ == "__main__":
    run_stage("train", train)
