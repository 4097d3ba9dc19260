"""test: what the model reaches on the test split, which chose nothing.

Reads the model, the verified split ``test`` and the parameters ``test``. Writes the headline metrics with 95 %
intervals, those of each class, findings in sentences, and the confusion matrix, the ROC curves, F1 by class, the
reliability of the probabilities and the most confident mistakes as pictures or as rows.
"""

from __future__ import annotations

from stages import parameters
from stages.common import parameter_file
from stages.common.console import run_stage
from stages.common.files import all_or_none, write_figure, write_json_rows, write_text
from stages.common.parameter_file import Excerpt
from stages.common.rounding import number, percent
from stages.evaluation import calibration, figures, findings, intervals, mistakes, predictions, results, scores
from stages.evaluation.results import Results
from stages.evaluation.settings import Test
from stages.model import class_names, members
from stages.model.prediction import predict_probabilities
from stages.model.saved import load_model
from stages.splits import packed


class Settings(Excerpt):
    test: Test


def test() -> None:
    parameters.check()
    settings = parameter_file.load(Settings)
    split = packed.load("data/verified/test")
    model = load_model("models/model.keras")
    classes = members.read_classes("models/model.keras")
    class_names.refuse_others(classes, split.classes)
    probabilities = predict_probabilities(model, split.images)
    found = scores.evaluate(split.labels, probabilities, classes)
    sentences = findings.on_test(found, settings.test)
    bins = calibration.reliability(split.labels, probabilities)
    worst = mistakes.most_confident(split.images, split.labels, probabilities, classes, split.names)
    headline = scores.headline(found) | {"auc_macro": found.auc_macro}
    of_95 = intervals.headline(split.labels, probabilities, found)

    with all_or_none() as place:
        written = Results(headline, of_95, scores.by_class(found))
        results.write(written, place("metrics/test.json"), place("metrics/test_classes.json"))
        write_text(place("metrics/test_findings.md"), findings.as_markdown("Findings on the test", sentences))
        plots = place("plots/test")
        named = predictions.named(split.names, split.labels, found.predictions, classes)
        predictions.write(plots / "predictions.csv", named)
        write_json_rows(plots / "roc.json", scores.roc_points(found))
        write_json_rows(plots / "f1.json", scores.f1_bars(found))
        calibration.write(plots / "reliability.json", bins)
        mistakes.write(plots / "mistakes.json", worst)
        write_figure(plots / "confusion_matrix.png", figures.confusion_matrix(found, "Confusion matrix, test split"))
        write_figure(plots / "roc.png", figures.roc_curves(found, "ROC curves by class, test split"))
        reliability = figures.reliability(bins, "Reliability of the probabilities, test split")
        write_figure(plots / "reliability.png", reliability)
    of_split = f"accuracy {percent(found.accuracy)}, macro F1 {number(found.f1_macro, 4)}"
    print(f"test: {of_split} on {len(split.labels):,} images")
    print("\n".join(f"test: {sentence}" for sentence in sentences))


if __name__ == "__main__":
    run_stage("test", test)
