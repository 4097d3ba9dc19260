"""report: what the model reaches on the test split, which chose nothing, and the whole run on one page.

Reads the model, the verified split ``test`` and the parameters. Writes the headline metrics with 95 % intervals, those
of each class, findings in sentences, and the confusion matrix, the ROC curves, F1 by class and the reliability of the
probabilities as pictures or as rows for DVC's plots.

The page, ``plots/report.html`` and in short ``metrics/report.md``, shows besides what the other stages found: the
metrics of the dataset, some of the near duplicates among the images, and the history of the training.
"""

from __future__ import annotations

from dataclasses import astuple
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field

from stages import parameters
from stages.common import parameter_file
from stages.common.console import run_stage
from stages.common.files import all_or_none, png, write_bytes, write_csv, write_json, write_json_rows, write_text
from stages.common.parameter_file import Excerpt
from stages.common.rounding import number, percent
from stages.evaluation import calibration, figures, findings, history, intervals, scores
from stages.evaluation.settings import Report, Validate
from stages.model import class_names, summary
from stages.model.prediction import predict_probabilities
from stages.model.saved import load_model
from stages.page import page, verified
from stages.page.page import Page
from stages.splits import packed

PACKAGES = ("tensorflow", "keras", "numpy", "scikit-learn", "scipy", "matplotlib", "pillow", "dvc")
PAIRS = 8  # of near duplicates on the page


class Settings(Excerpt):
    # The page only shows these, as the file has them.
    seed: int
    dataset: dict[str, Any]
    model: dict[str, Any]
    train: dict[str, Any]
    validate_: Annotated[Validate, Field(alias="validate")]  # a model of pydantic has a method `validate`
    report: Report


def report() -> None:
    parameters.check()
    settings = parameter_file.load(Settings)
    split = packed.load("data/verified/test")
    model = load_model("models/model.keras")
    classes = class_names.read("models/model.keras")
    class_names.refuse_others(classes, split.classes)
    probabilities = predict_probabilities(model, split.images)
    results = scores.evaluate(split.labels, probabilities, classes)
    sentences = findings.on_test(results, settings.report)
    of_95 = intervals.headline(split.labels, probabilities, results)
    bins = calibration.reliability(split.labels, probabilities)
    confusion = png(figures.confusion_matrix(results, "Confusion matrix, test split"))
    roc = png(figures.roc_curves(results, "ROC curves by class, test split"))
    training = history.load(Path("metrics/history.csv"), Path("metrics/train.json"))
    all_splits = [packed.load("data/verified/train"), packed.load("data/verified/validation"), split]
    shown = Page(
        settings=settings.model_dump(by_alias=True),
        dataset=verified.load_metrics(Path("metrics/dataset.json")),
        layers=summary.layers(model),
        training=training,
        findings_on_training=findings.on_training(training, settings.validate_),
        scores=results,
        intervals=of_95,
        findings_on_test=sentences,
        calibration_error=calibration.expected_calibration_error(bins),
        curves=png(figures.training_curves(training)),
        confusion=confusion,
        roc=roc,
        reliability=png(figures.reliability(bins, "Reliability of the probabilities, test split")),
        mistakes=page.most_confident_mistakes(split.images, split.labels, probabilities, classes, split.names),
        near_duplicates=verified.sample_pairs(Path("metrics/dataset_warnings.csv"), all_splits, PAIRS),
        versions={name: version(name) for name in PACKAGES},
    )

    headline = scores.headline(results) | {"auc_macro": results.auc_macro}
    # As lists, which DVC's tables of metrics leave out: each figure is a row there, and not three.
    of_95_written = {name: each and list(astuple(each)) for name, each in of_95.items()}
    predictions = scores.named_predictions(split.names, split.labels, results)
    with all_or_none() as place:
        write_json(place("metrics/test.json"), headline | {"interval_95": of_95_written})
        write_json(place("metrics/test_classes.json"), scores.by_class(results))
        write_text(place("metrics/test_findings.md"), findings.as_markdown("Findings on the test", sentences))
        write_csv(place("plots/test/predictions.csv"), scores.PREDICTION_COLUMNS, predictions)
        write_json_rows(place("plots/test/roc.json"), scores.roc_points(results))
        write_json_rows(place("plots/test/f1.json"), scores.f1_bars(results))
        write_json_rows(place("plots/test/reliability.json"), (each._asdict() for each in bins))
        write_bytes(place("plots/test/confusion_matrix.png"), confusion)
        write_bytes(place("plots/test/roc.png"), roc)
        write_text(place("plots/report.html"), page.as_html(shown))
        write_text(place("metrics/report.md"), page.as_markdown(shown))
    of_split = f"accuracy {percent(results.accuracy)}, macro F1 {number(results.f1_macro, 4)}"
    print(f"report: {of_split} on {len(split.labels):,} images")
    print("\n".join(f"report: {sentence}" for sentence in sentences))


if __name__ == "__main__":
    run_stage("report", report)
