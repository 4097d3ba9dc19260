"""validate: how the training went, and how good its model is on the split that chose the best epoch.

Reads

- the verified split ``validation``,
- of ``train``'s outputs the model's class names, its probabilities for these images, and the history,
- the parameters ``validate``.

Writes the headline metrics, the findings on the training, the training curves, the confusion matrix, and the
predictions as rows for DVC's plots. The metrics flatter the model a little: its best epoch was chosen here.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import Field

from stages import parameters
from stages.common import parameter_file
from stages.common.console import run_stage
from stages.common.files import all_or_none, write_figure, write_json, write_text
from stages.common.locks import one_stage_at_a_time
from stages.common.parameter_file import Excerpt
from stages.common.rounding import number, percent
from stages.evaluation import figures, findings, predictions, scores
from stages.evaluation.settings import Validate
from stages.model import class_names, history, members, validation_probabilities
from stages.splits import packed


class Settings(Excerpt):
    validate_: Annotated[Validate, Field(alias="validate")]  # a model of pydantic has a method `validate`


def validate() -> None:
    parameters.check()
    settings = parameter_file.load(Settings)
    training = history.load(Path("metrics/history.csv"), Path("metrics/train.json"))
    split = packed.load("data/verified/validation")
    probabilities = validation_probabilities.load(Path("models/validation_probabilities.npy"), len(split.labels))
    class_names.refuse_others(members.read_classes("models/model.keras"), split.classes)
    scored = scores.evaluate(split.labels, probabilities, split.classes)
    sentences = findings.on_training(training, len(split.labels), settings.validate_)

    named = predictions.named(split.image_names, split.labels, scored.predicted, split.classes)
    confusion = figures.confusion_matrix(scored, "Confusion matrix, validation split")
    with all_or_none() as place:
        write_json(place("metrics/validation.json"), scores.headline(scored))
        markdown = findings.as_markdown("Findings on the training", sentences)
        write_text(place("metrics/validation_findings.md"), markdown)
        predictions.write(place("plots/validation/predictions.csv"), named)
        write_figure(place("plots/validation/curves.png"), figures.training_curves(training))
        write_figure(place("plots/validation/confusion_matrix.png"), confusion)
    headline = f"accuracy {percent(scored.accuracy)}, loss {number(scored.loss, 4)}"
    print(f"validate: {headline} on {len(split.labels):,} images")
    print("\n".join(f"validate: {sentence}" for sentence in sentences))


if __name__ == "__main__":
    run_stage("validate", one_stage_at_a_time()(validate))
