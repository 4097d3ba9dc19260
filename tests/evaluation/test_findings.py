"""Findings: what the rules say of the notebook's own history, and of histories and scores of other kinds."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from stages.evaluation import findings, settings
from stages.evaluation.scores import Scores, evaluate
from stages.model.history import Epoch, Training
from tests.defaults import SETTINGS

# The notebook's log: loss, accuracy, validation loss, validation accuracy, learning rate.
NOTEBOOK = """
    1.8122 0.3379 1.4361 0.4827 0.01
    1.3285 0.5245 1.2500 0.5588 0.01
    1.1355 0.5965 1.1549 0.5999 0.01
    0.9946 0.6498 1.0115 0.6460 0.01
    0.9017 0.6837 1.0089 0.6457 0.01
    0.8196 0.7102 0.9437 0.6727 0.01
    0.7524 0.7357 0.9195 0.6858 0.01
    0.6816 0.7612 0.9825 0.6777 0.01
    0.6217 0.7818 0.9320 0.6883 0.01
    0.5591 0.8028 0.9420 0.6889 0.01
    0.3698 0.8748 0.9159 0.7222 0.001
    0.3101 0.8973 0.9378 0.7199 0.001
    0.2865 0.9049 0.9595 0.7226 0.001
    0.2679 0.9133 0.9820 0.7218 0.001
    0.2400 0.9254 0.9786 0.7217 0.0001
    0.2360 0.9272 0.9842 0.7212 0.0001
    0.2338 0.9276 0.9868 0.7202 0.0001
"""


ON_TRAINING = settings.Validate(overfitting_gap=0.04, loss_improvement=0.01, accuracy_improvement=0.01)
ON_TEST = settings.Test(class_margin=0.03, confused_pairs=3, auc_classes=4, balance_ratio=1.5)


def training(rows: str, best_epoch: int, drops: tuple[int, ...] | None = (), stopped_early: bool = False) -> Training:
    values = [[float(value) for value in row.split()] for row in rows.strip().splitlines()]
    return Training(tuple(Epoch(i + 1, *row) for i, row in enumerate(values)), best_epoch, drops, stopped_early, 9)


def on_training(course: Training) -> str:
    return "\n".join(findings.on_training(course, 10_000, ON_TRAINING))


def on_test(scores: Scores) -> str:
    return "\n".join(findings.on_test(scores, ON_TEST))


def scores_of(confusion: list[list[int]], names: list[str]) -> Scores:
    """Scores of a model that is sure of everything and makes exactly the mistakes of ``confusion``."""
    counts = np.array(confusion)
    labels, predicted = (np.repeat(index.ravel(), counts.ravel()) for index in np.indices(counts.shape))
    return evaluate(labels.astype(np.int32), np.eye(len(names), dtype=np.float32)[predicted], names)


def test_of_the_notebooks_history_the_rules_say_what_its_author_said() -> None:
    course = training(NOTEBOOK, 11, (10, 14, 17), stopped_early=True)
    assert findings.on_training(course, 10_000, SETTINGS.validate_) == [
        "The model begins overfitting after epoch 6: from then on the training accuracy stays more than 4 points above "
        "the validation accuracy, in the end 20.7.",
        "The validation loss stops improving significantly (by 1 % or more) after epoch 7, while the training loss "
        "keeps improving.",
        "The validation accuracy stops improving significantly (by 1 point or more) after epoch 11, while the training "
        "accuracy keeps improving.",
        "The best model is that of epoch 11 (validation loss 0.9159, validation accuracy 72.22%); it is the one that "
        "is saved.",
        "Training stopped after epoch 17 because of early stopping: no better model in 6 epochs.",
        "The learning rate dropped after epochs 10, 14 and 17, from 0.01 in the first epoch to 0.0001 in the last; the "
        "last drop came as training ended.",
    ]


@pytest.mark.parametrize("rule", ["overfitting_gap", "loss_improvement", "accuracy_improvement"])
def test_each_threshold_of_the_findings_on_training_matters(rule: str) -> None:
    course = training(NOTEBOOK, 11)
    other = ON_TRAINING.model_copy(update={rule: 0.2})
    assert findings.on_training(course, 10_000, other) != findings.on_training(course, 10_000, ON_TRAINING)


def test_one_epoch_alone() -> None:
    said = on_training(training("1.8 0.34 1.4 0.48 0.01", best_epoch=1))
    assert "does not overfit" in said
    assert "One epoch alone does not show whether the validation loss improves." in said
    assert "One epoch alone does not show whether the validation accuracy improves." in said
    assert "Training stopped after epoch 1, its limit." in said
    assert "The learning rate never dropped; it was 0.01 throughout." in said


def test_a_training_that_was_cut_off_while_it_still_improved() -> None:
    said = on_training(training("1.8 0.34 1.4 0.48 0.01\n1.3 0.52 1.2 0.55 0.01", best_epoch=2))
    assert "The model does not overfit" in said
    assert "The validation loss was still improving by 1 % or more when training ended." in said
    assert "The validation accuracy was still improving by 1 point or more when training ended." in said


def test_overfitting_from_the_first_epoch_on() -> None:
    said = on_training(training("0.5 0.90 1.4 0.48 0.01\n0.4 0.95 1.5 0.47 0.01", best_epoch=1))
    assert "The model overfits from the first epoch" in said


@pytest.mark.parametrize(("images", "reach"), [(11, "30"), (100, "10"), (600, "4"), (601, None)])
def test_few_validation_images_are_told_where_chance_reaches_further_than_the_gap_of_overfitting(
    images: int, reach: str | None
) -> None:
    course = training("0.5 0.90 1.4 0.48 0.01\n0.4 0.95 1.5 0.47 0.01", best_epoch=1)
    said = findings.on_training(course, images, ON_TRAINING)[6:]
    assert said == [
        f"The validation split has {images} images only, so chance alone moves its accuracy by up to {reach} points "
        "(95 %), and what is said of it here may be chance."
    ] * (reach is not None)


def test_a_gap_that_closes_again_is_no_overfitting() -> None:
    said = on_training(training("1.0 0.70 1.4 0.48 0.01\n0.9 0.71 0.9 0.70 0.01", best_epoch=2))
    assert "The model does not overfit" in said


def test_where_training_stops_improving_too_no_contrast_is_drawn() -> None:
    flat = "1.0 0.50 1.0 0.50 0.01\n1.0 0.50 1.0 0.50 0.01"
    said = on_training(training(flat, best_epoch=1))
    assert "The validation loss stops improving significantly (by 1 % or more) after epoch 1.\n" in said
    assert "The validation accuracy stops improving significantly (by 1 point or more) after epoch 1.\n" in said


def test_small_steps_add_up_to_a_significant_improvement() -> None:
    rows = "\n".join(f"1.0 0.5 {1 - step / 200} 0.5 0.01" for step in range(3))
    assert "The validation loss was still improving" in on_training(training(rows, best_epoch=3))


@pytest.mark.parametrize("percent", range(50, 100))
def test_a_gap_and_a_step_that_equal_their_threshold_are_read_as_decimals(percent: int) -> None:
    gap = f"1.0 {percent / 100} 1.0 {(percent - 4) / 100} 0.01"
    assert "The model does not overfit" in on_training(training(gap, best_epoch=1))
    step = f"1.0 0.5 1.0 {(percent - 1) / 100} 0.01\n1.0 0.5 1.0 {percent / 100} 0.01"
    said = on_training(training(step, best_epoch=1))
    assert "The validation accuracy was still improving by 1 point or more" in said
    assert "epoch 2 had the higher validation accuracy" in said


def test_a_single_drop_of_the_learning_rate_in_the_middle() -> None:
    rows = "1.0 0.5 1.0 0.5 0.01\n0.9 0.5 0.9 0.5 0.001"
    said = on_training(training(rows, best_epoch=2, drops=(1,)))
    assert "The learning rate dropped after epoch 1, from 0.01 in the first epoch to 0.001 in the last." in said


def test_a_schedule_without_drops_is_told_by_its_first_highest_and_last_rate() -> None:
    rows = "1.0 0.5 1.0 0.5 0.025\n0.9 0.5 0.9 0.5 0.1\n0.8 0.5 0.8 0.5 0.00123"
    said = on_training(training(rows, best_epoch=3, drops=None))
    assert (
        "The learning rate followed its schedule. In the middle of an epoch it was 0.025 in the first, 0.1 in epoch 2, "
        "the highest, and 0.0012 in the last." in said
    )
    assert "drop" not in said


def test_a_drop_of_the_learning_rate_at_the_end_alone() -> None:
    said = on_training(training("1.0 0.5 1.0 0.5 0.01\n0.9 0.5 0.9 0.5 0.01", best_epoch=2, drops=(2,)))
    assert "The learning rate dropped after epoch 2; the last drop came as training ended." in said


def test_a_best_epoch_that_misses_the_highest_validation_accuracy_says_so() -> None:
    said = on_training(training("1.0 0.5 0.90 0.69 0.01\n0.3 0.9 1.05 0.72 0.001", best_epoch=1))
    assert "it is the one that is saved; epoch 2 had the higher validation accuracy of 72.00%." in said


def test_early_stopping_at_the_best_epoch_says_why() -> None:
    course = replace(training("1.0 0.5 1.0 0.5 0.01", best_epoch=1), stopped_early=True)
    assert "because of early stopping: improvements too small to count." in on_training(course)


def test_pairs_are_confused_in_both_directions_together() -> None:
    said = on_test(scores_of([[90, 6, 4], [5, 95, 0], [0, 3, 97]], ["cat", "dog", "frog"]))
    assert said.splitlines()[:3] == [
        "Most often confused: cat and dog, 11 images (6 of cat taken for dog, 5 the other way round).",
        "Then: cat and frog, 4 images (4 of cat taken for frog, 0 the other way round).",
        "Then: dog and frog, 3 images (0 of dog taken for frog, 3 the other way round).",
    ]


@pytest.mark.parametrize(
    ("row", "sentence"),
    [
        ([96, 1, 1, 2], "3 more pairs are confused as often as the last one."),
        ([94, 2, 2, 2], "1 more pair is confused as often as the last one."),
        ([91, 3, 3, 3], ""),
    ],
)
def test_pairs_that_are_confused_as_often_as_the_last_named_are_counted(row: list[int], sentence: str) -> None:
    others = [[0, 97, 2, 1], [0, 0, 99, 1], [0, 0, 0, 100]]
    said = on_test(scores_of([row, *others], ["a", "b", "c", "d"])).splitlines()
    assert said[3] == sentence or (not sentence and said[3].startswith("Below"))


def test_classes_that_are_never_predicted_are_named() -> None:
    said = on_test(scores_of([[9, 0, 1], [10, 0, 0], [0, 0, 0]], ["ok", "defect", "absent"]))
    assert "Never predicted, so with a recall and an F1 of 0: defect." in said.splitlines()
    assert "Never" not in on_test(scores_of([[9, 1], [10, 0]], ["ok", "defect"]))


def test_a_model_without_a_mistake() -> None:
    said = on_test(scores_of([[10, 0], [0, 10]], ["cat", "dog"]))
    assert said.splitlines() == [
        "No image is classified wrongly.",
        "Below the average F1 of 1.000 by more than 0.03: no class.",
        "Above the average F1 of 1.000 by more than 0.03: no class.",
        "The AUC (area under the ROC curve) is 1.000 for every class.",
        "The split is balanced (10 images of each class), so the macro average is a good metric.",
    ]


def test_no_figure_of_the_findings_is_rounded_up_to_perfect_or_down_to_nothing() -> None:
    scores = scores_of([[10, 0], [0, 10]], ["cat", "dog"])
    cat, dog = scores.classes
    assert cat.roc is not None
    cat = replace(cat, roc=replace(cat.roc, auc=0.9998))
    said = on_test(replace(scores, f1_macro=0.99996, classes=(cat, dog)))
    assert "Best AUC (area under the ROC curve): dog (1.000)." in said
    assert "Worst AUC (area under the ROC curve): cat (0.9998)." in said
    assert "the average F1 of 0.99996 by" in said
    said = on_training(training("0.1 0.9 0.00001 0.99999 0.01", best_epoch=1))
    assert "(validation loss 0.00001, validation accuracy 99.999%)" in said


def test_classes_beside_the_average_come_furthest_first_and_those_within_the_margin_are_not_named() -> None:
    scores = scores_of([[60, 40, 0, 0], [30, 70, 0, 0], [2, 0, 80, 18], [0, 0, 0, 100]], ["a", "b", "c", "d"])
    below, above = on_test(scores).splitlines()[3:5]
    assert re.findall(r"(\w) \(", below) == ["a", "b"]
    assert re.findall(r"(\w) \(", above) == ["d", "c"]
    narrow = ON_TEST.model_copy(update={"class_margin": 0.12})
    assert re.findall(r"(\w) \(", findings.on_test(scores, narrow)[4]) == ["d"]


def test_no_class_is_both_best_and_worst_by_auc() -> None:
    said = on_test(scores_of([[60, 40, 0], [0, 100, 0], [0, 10, 90]], ["a", "b", "c"]))
    best, worst = re.findall(r"(?:Best|Worst) AUC \(area under the ROC curve\): (.*)\.", said)
    assert (best, worst) == ("c (0.950)", "a (0.800)")


def test_classes_as_good_as_the_best_by_auc_are_not_among_the_worst() -> None:
    confusion = np.diag([60, 100, 100, 100, 100, 100])
    confusion[0, 1] = 40
    said = on_test(scores_of(confusion.tolist(), list("abcdef")))
    worst = re.findall(r"Worst AUC \(area under the ROC curve\): (.*)\.", said)
    assert worst == ["a (0.800) and b (0.960)"]


def test_of_many_classes_only_the_first_are_named() -> None:
    half = np.eye(30, dtype=int) * np.where(np.arange(30) < 15, 20, 10)
    half[np.arange(15, 30), np.arange(15)] = 10
    said = on_test(scores_of(half.tolist(), [f"c{index}" for index in range(30)]))
    (below,) = (line for line in said.splitlines() if line.startswith("Below"))
    assert len(re.findall(r"c\d+ \(", below)) == 10
    assert "and 5 more." in below


def test_a_split_without_balance_warns_of_macro_averages() -> None:
    said = on_test(scores_of([[30, 0], [0, 1_000]], ["rare", "common"]))
    assert "The split is not balanced (30 to 1,000 images of a class)" in said


def test_a_class_without_images_is_said_to_have_no_auc() -> None:
    said = on_test(scores_of([[5, 0, 0], [1, 4, 0], [0, 0, 0]], ["a", "b", "absent"]))
    assert "AUC is undefined without images of the class and of others: absent." in said


def test_a_class_without_images_is_beside_no_average_and_in_no_balance() -> None:
    said = on_test(scores_of([[9, 0, 1], [0, 10, 0], [0, 0, 0]], ["a", "b", "absent"])).splitlines()
    assert said == [
        "Without images in the split, so without figures, and in no average: absent.",
        "Most often confused: a and absent, 1 image (1 of a taken for absent, 0 the other way round).",
        "Below the average F1 of 0.974 by more than 0.03: no class.",
        "Above the average F1 of 0.974 by more than 0.03: no class.",
        "Best AUC (area under the ROC curve): b (1.000).",
        "Worst AUC (area under the ROC curve): a (0.950).",
        "AUC is undefined without images of the class and of others: absent.",
        "The split is balanced (10 images of each class that has any), so the macro average is a good metric.",
    ]


def test_names_of_classes_are_no_markup() -> None:
    text = findings.as_markdown("Findings", ["Best: <b>*x*</b> [y]."])
    assert text == "# Findings\n\n- Best: \\<b\\>\\*x\\*\\</b\\> \\[y\\].\n"


def test_sentences_are_read_back_as_they_were_whatever_the_classes_are_called(tmp_path: Path) -> None:
    sentences = ["Best: <b>*x*</b> [y].", "- \\ & \\* `- a`", "犬, a  b "]
    file = tmp_path / "findings.md"
    file.write_text(findings.as_markdown("Findings", sentences), encoding="utf-8")
    assert findings.load(file, "test") == sentences
