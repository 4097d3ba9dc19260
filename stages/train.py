"""train: fits the network to the training split and keeps its best epoch.

Reads the verified splits ``train`` and ``validation`` (which chooses the best epoch, the drops of the learning rate and
the end), and the parameters ``seed``, ``model`` and ``train``. Writes the model, its layers and the history by epoch as
tables, what the training came to, and the probabilities that the model gives to the validation images. The test split
is out of its reach. A training that was killed goes on after its last finished epoch. The history grows with each
epoch, so that DVC shows the curves of a training that runs.
"""

from __future__ import annotations

import os
from pathlib import Path

from stages import parameters
from stages.common import interrupts, parameter_file
from stages.common.console import UserError, progress, run_stage
from stages.common.files import all_or_none
from stages.common.locks import one_stage_at_a_time
from stages.common.parameter_file import Excerpt
from stages.model import history, summary, training, validation_probabilities
from stages.model.backend import keras
from stages.model.cluster import from_tf_config
from stages.model.prediction import predict_probabilities
from stages.model.saved import load_model, save_model
from stages.model.settings import Model, Seed, Train
from stages.model.state import TrainingState
from stages.splits import packed
from stages.splits.packed import Split

# Beside the outs and not among them: DVC deletes a stage's outs before it runs.
RESUME_POINT = Path(".resume/train.npz")


class Settings(Excerpt):
    seed: Seed
    model: Model
    train: Train


def train() -> None:
    parameters.check()
    settings = parameter_file.load(Settings)
    cluster = from_tf_config(os.environ)
    if cluster and cluster.index:
        raise UserError(f"this is {cluster.name(cluster.index)}, by TF_CONFIG; run `python -m stages.worker` here")
    train_split, validation_split = splits()
    images = len(train_split.images)

    def keep(state: TrainingState) -> None:
        if state.history:
            interrupts.say_if_interrupted(f"epochs 1 to {len(state.history)} are kept; `dvc repro` goes on from there")

    def on_start(network: keras.Model, state: TrainingState) -> None:
        keep(state)
        print(f"train: {network.count_params():,} parameters, {images:,} images", flush=True)

    with progress("train", settings.train.epochs * images, "images") as bar:

        def on_epoch(state: TrainingState) -> None:
            keep(state)
            history.write_epochs(Path("metrics/history.csv"), state.history)
            bar.say(state.last_epoch_in_words())

        trained = training.train(
            settings.model,
            settings.train,
            settings.seed,
            train_split,
            validation_split,
            on_start=on_start,
            on_images=bar.advance,
            on_epoch=on_epoch,
            resume_at=RESUME_POINT,
            cluster=cluster,
        )

    # DVC notes the parameters that it finds when the stage ends.
    if parameter_file.load(Settings) != settings:
        raise UserError("params.yaml was changed meanwhile, so its values are not this model's; run `dvc repro` again")
    with all_or_none() as place:
        model_file = place("models/model.keras")
        save_model(model_file, trained.network, train_split.classes, train_split.depth, train_split.resize)
        # By the file, not by the model in memory, so that `validate` judges what was saved; and here, where TensorFlow
        # is loaded already, which would take `validate` two seconds.
        probabilities = predict_probabilities(load_model(model_file), validation_split.images)
        validation_probabilities.write(place("models/validation_probabilities.npy"), probabilities)
        summary.write(place("models/layers.json"), summary.layers(trained.network))
        history.write(trained.course, place("metrics/history.csv"), place("metrics/train.json"))
    RESUME_POINT.unlink(missing_ok=True)


def splits() -> tuple[Split, Split]:
    """The training and the validation split."""
    train_split = packed.load("data/verified/train")
    validation_split = packed.load("data/verified/validation")
    if (train_split.classes, train_split.images.shape[1:]) != (
        validation_split.classes,
        validation_split.images.shape[1:],
    ):
        raise UserError("the training and the validation split are of two runs of verify; run `dvc repro verify`")
    return train_split, validation_split


if __name__ == "__main__":
    run_stage("train", one_stage_at_a_time()(train))
