"""validate: how the training went, and what its model reaches on the split that chose its best epoch.

Reads the verified split ``validation``; what ``train`` wrote: the names of the model's classes, the probabilities that
it gives to these images, the history by epoch, and what the training came to; and the parameters ``validate``. Writes
the headline metrics, findings on the training in sentences, the training curves, and the confusion matrix as a picture
and as rows for DVC's plots. The metrics flatter the model a little: its best epoch was chosen here.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import Field

from stages import parameters
from stages.common import parameter_file
from stages.common.console import run_stage
from stages.common.files import all_or_none, write_figure, write_json, write_text
from stages.common.parameter_file import Excerpt
from stages.common.rounding import number, percent
from stages.evaluation import figures, findings, predictions, probabilities, scores
from stages.evaluation.settings import Validate
from stages.model import class_names, history, members
from stages.splits import packed


class Settings(Excerpt):
    validate_: Annotated[Validate, Field(alias="validate")]  # a model of pydantic has a method `validate`


def validate() -> None:
    parameters.check()
    settings = parameter_file.load(Settings)
    training = history.load(Path("metrics/history.csv"), Path("metrics/train.json"))
    split = packed.load("data/verified/validation")
    predicted = probabilities.load(Path("models/validation_probabilities.npy"), len(split.labels))
    class_names.refuse_others(members.read_classes("models/model.keras"), split.classes)
    results = scores.evaluate(split.labels, predicted, split.classes)
    sentences = findings.on_training(training, settings.validate_)

    named = predictions.named(split.names, split.labels, results.predictions, split.classes)
    confusion = figures.confusion_matrix(results, "Confusion matrix, validation split")
    with all_or_none() as place:
        write_json(place("metrics/validation.json"), scores.headline(results))
        markdown = findings.as_markdown("Findings on the training", sentences)
        write_text(place("metrics/validation_findings.md"), markdown)
        predictions.write(place("plots/validation/predictions.csv"), named)
        write_figure(place("plots/validation/curves.png"), figures.training_curves(training))
        write_figure(place("plots/validation/confusion_matrix.png"), confusion)
    of_split = f"accuracy {percent(results.accuracy)}, loss {number(results.loss, 4)}"
    print(f"validate: {of_split} on {len(split.labels):,} images")
    print("\n".join(f"validate: {sentence}" for sentence in sentences))


if __name__ == "__main__":
    run_stage("validate", validate)
