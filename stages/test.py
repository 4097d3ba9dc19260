"""test: how good the model is on the test split, which chose nothing.

Reads the model, the verified split ``test`` and the parameters ``test``. Writes the headline metrics with 95 %
intervals, those of each class, findings in sentences, and the confusion matrix, the ROC curves, F1 by class, the
reliability of the probabilities and the most confident mistakes as pictures or as rows.
"""

from __future__ import annotations

from stages import parameters
from stages.common import parameter_file
from stages.common.console import run_stage
from stages.common.files import all_or_none, write_figure, write_json_rows, write_text
from stages.common.locks import one_stage_at_a_time
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
    scored = scores.evaluate(split.labels, probabilities, classes)
    sentences = findings.on_test(scored, settings.test)
    bins = calibration.reliability(split.labels, probabilities)
    worst = mistakes.most_confident(split.images, split.labels, probabilities, classes, split.image_names)
    test_results = Results(
        figures=scores.headline(scored) | {"auc_macro": scored.auc_macro},
        intervals=intervals.headline(split.labels, probabilities, scored),
        classes=scores.by_class(scored),
    )

    with all_or_none() as place:
        results.write(test_results, place("metrics/test.json"), place("metrics/test_classes.json"))
        write_text(place("metrics/test_findings.md"), findings.as_markdown("Findings on the test", sentences))
        plots = place("plots/test")
        named = predictions.named(split.image_names, split.labels, scored.predicted, classes)
        predictions.write(plots / "predictions.csv", named)
        write_json_rows(plots / "roc.json", scores.roc_points(scored))
        write_json_rows(plots / "f1.json", scores.f1_bars(scored))
        calibration.write(plots / "reliability.json", bins)
        mistakes.write(plots / "mistakes.json", worst)
        write_figure(plots / "confusion_matrix.png", figures.confusion_matrix(scored, "Confusion matrix, test split"))
        write_figure(plots / "roc.png", figures.roc_curves(scored, "ROC curves by class, test split"))
        reliability = figures.reliability(bins, "Reliability of the probabilities, test split")
        write_figure(plots / "reliability.png", reliability)
    headline = f"accuracy {percent(scored.accuracy)}, macro F1 {number(scored.f1_macro, 4)}"
    print(f"test: {headline} on {len(split.labels):,} images")
    print("\n".join(f"test: {sentence}" for sentence in sentences))


if __name__ == "__main__":
    run_stage("test", one_stage_at_a_time()(test))
