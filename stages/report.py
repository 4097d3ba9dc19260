"""report: what the model reaches on the test split, which chose nothing.

Reads the model, the verified split ``test`` and the parameters ``report``. Writes the headline metrics with 95 %
intervals, those of each class, findings in sentences, and the confusion matrix, the ROC curves and F1 by class as
pictures or as rows for DVC's plots.
"""

from __future__ import annotations

from dataclasses import asdict

from stages.common import parameters
from stages.common.console import run_stage
from stages.common.files import write_csv, write_figure, write_json, write_json_rows, write_text
from stages.dataset import splits
from stages.evaluation import figures, findings, intervals, scores
from stages.model.saved import load_model, predict_probabilities


def report() -> None:
    rules = parameters.load().report
    split = splits.load("data/verified/test")
    probabilities = predict_probabilities(load_model("models/model.keras"), split.images)
    results = scores.evaluate(split.labels, probabilities, split.classes)
    sentences = findings.on_test(results, rules)

    of_95 = {name: asdict(interval) for name, interval in intervals.headline(results).items()}
    write_json("metrics/test.json", scores.headline(results) | {"auc_macro": results.auc_macro, "interval_95": of_95})
    write_json("metrics/test_classes.json", scores.by_class(results))
    write_text("metrics/test_findings.md", findings.as_markdown("Findings on the test", sentences))
    predictions = scores.named_predictions(split.names, split.labels, results)
    write_csv("plots/test/predictions.csv", scores.PREDICTION_COLUMNS, predictions)
    write_json_rows("plots/test/roc.json", scores.roc_points(results))
    write_json_rows("plots/test/f1.json", ({"class": each.name, "f1": each.f1} for each in results.classes))
    write_figure("plots/test/confusion_matrix.png", figures.confusion_matrix(results, "Confusion matrix, test split"))
    write_figure("plots/test/roc.png", figures.roc_curves(results, "ROC curves by class, test split"))
    print(f"report: accuracy {results.accuracy:.2%}, macro F1 {results.f1_macro:.4f} on {len(split.labels):,} images")
    print("\n".join(f"report: {sentence}" for sentence in sentences))


if __name__ == "__main__":
    run_stage("report", report)
