"""Figures: what is drawn, read back from matplotlib's objects, and that equal scores give equal bytes."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.text import Text

from stages.common.files import png
from stages.evaluation import figures
from stages.evaluation.scores import MOST_DRAWN, Scores, evaluate
from stages.model.history import Epoch, Training


def some_scores(classes: int, names: list[str] | None = None) -> Scores:
    random = np.random.default_rng(classes)
    labels = np.arange(20 * classes, dtype=np.int32) % classes
    weights = random.random((len(labels), classes)) + 0.5 * np.eye(classes)[labels]
    probabilities = (weights / weights.sum(axis=1, keepdims=True)).astype(np.float32)
    return evaluate(labels, probabilities, names or [f"{index:03d}_name" for index in range(classes)])


def some_training() -> Training:
    epochs = tuple(Epoch(i + 1, 1.5 - 0.2 * i, 0.4 + 0.1 * i, 1.4 - 0.1 * i, 0.4 + 0.05 * i, 0.01) for i in range(4))
    return Training(epochs, best_epoch=3, learning_rate_drops=(2, 4), stopped_early=True, parameters=9)


def points(line: Line2D) -> list[tuple[float, float]]:
    return list(zip(np.asarray(line.get_xdata()).tolist(), np.asarray(line.get_ydata()).tolist(), strict=True))


def test_training_curves_show_both_series_in_both_panels() -> None:
    accuracy_axes, loss_axes = figures.training_curves(some_training()).axes
    learnt, validated = accuracy_axes.lines[:2]
    assert points(learnt) == [(1, pytest.approx(0.4)), (2, 0.5), (3, pytest.approx(0.6)), (4, pytest.approx(0.7))]
    assert points(validated) == [(1, 0.4), (2, 0.45), (3, 0.5), (4, pytest.approx(0.55))]
    assert [loss for _, loss in points(loss_axes.lines[1])] == pytest.approx([1.4, 1.3, 1.2, 1.1])
    assert (loss_axes.get_xlabel(), loss_axes.get_title()) == ("Epoch", "Training and validation loss")


def test_training_curves_mark_the_best_epoch_and_each_drop_of_the_learning_rate_once_in_the_legend() -> None:
    axes = figures.training_curves(some_training()).axes[0]
    assert [points(line)[0][0] for line in axes.lines[2:]] == [3, 2.5, 4.5]
    legend = axes.get_legend()
    assert legend is not None
    assert [text.get_text() for text in legend.get_texts()] == [
        "Training accuracy",
        "Validation accuracy",
        "Best epoch (3)",
        "Learning rate drops",
    ]
    assert axes.get_xlim()[1] > 4.5


@pytest.mark.parametrize(("epochs", "marks"), [(50, ["o", "s"]), (51, ["None", "None"])])
def test_each_epoch_has_a_mark_unless_there_are_many(epochs: int, marks: list[str]) -> None:
    history = tuple(Epoch(number, 1.5, 0.4, 1.4, 0.45, 0.01) for number in range(1, epochs + 1))
    training = Training(history, 1, (), stopped_early=False, parameters=9)
    for axes in figures.training_curves(training).axes:
        assert [str(line.get_marker()) for line in axes.lines[:2]] == marks


def test_one_epoch_can_be_drawn() -> None:
    epoch = Epoch(1, 1.5, 0.4, 1.4, 0.45, 0.01)
    assert png(figures.training_curves(Training((epoch,), 1, (), stopped_early=False, parameters=9)))


@pytest.mark.parametrize("classes", [2, 10, 50])
def test_a_confusion_matrix_has_every_count_and_every_name(classes: int) -> None:
    scores = some_scores(classes)
    axes = figures.confusion_matrix(scores, "Title").axes[0]
    texts = {text.get_position(): text.get_text() for text in axes.texts}
    for (row, column), images in np.ndenumerate(scores.confusion):
        assert texts.get((column, row), "0") == str(images)
    assert [label.get_text() for label in axes.get_yticklabels()] == list(scores.class_names)
    assert [label.get_text() for label in axes.get_xticklabels()] == list(scores.class_names)
    assert (axes.get_xlabel(), axes.get_ylabel(), axes.get_title()) == ("Predicted class", "Actual class", "Title")


@pytest.mark.slow
@pytest.mark.parametrize("classes", [40, 50, 100, 101, 1000])
def test_the_names_beside_a_matrix_of_many_classes_can_be_read(classes: int) -> None:
    names = [f"n{index:08d}-soft-coated_wheaten_terrier" for index in range(classes)]
    figure = figures.confusion_matrix(some_scores(classes, names), "Title")
    figure.draw_without_rendering()
    axes = figure.axes[0]
    assert axes.get_window_extent().width > 600  # pixels: the names leave room for the matrix
    for labels, side in ((axes.get_yticklabels(), "y1"), (axes.get_xticklabels(), "x0")):
        assert 40 <= len(labels) <= 100
        assert all(float(label.get_fontsize()) >= 6 for label in labels)
        boxes = [label.get_window_extent() for label in labels]
        starts = sorted(getattr(box, side) for box in boxes)
        thickness = max(min(box.width, box.height) for box in boxes)
        assert np.diff(starts).min() >= 0.9 * thickness  # a line's height includes room above small letters


def test_the_colour_of_a_confusion_matrix_is_the_share_of_the_actual_class() -> None:
    labels = np.array([0, 0, 0, 0, 1], np.int32)
    predicted = np.array([0, 1, 1, 1, 1])
    scores = evaluate(labels, np.eye(3, dtype=np.float32)[predicted], ["a", "b", "absent"])
    image = figures.confusion_matrix(scores, "Title").axes[0].images[0]
    assert np.asarray(image.get_array()).tolist() == [[0.25, 0.75, 0], [0, 1, 0], [0, 0, 0]]


def test_the_legend_of_the_roc_curves_has_each_class_with_its_auc_and_chance() -> None:
    scores = some_scores(3)
    figure = figures.roc_curves(scores, "Title")
    legend = [text.get_text() for text in figure.legends[0].get_texts()]
    assert legend == [*(f"{each.auc:.3f}  {each.name}" for each in scores.classes), "0.500  chance"]
    curve = scores.classes[1].roc
    assert curve is not None
    np.testing.assert_array_equal(figure.axes[0].lines[1].get_ydata(), curve.true_positive_rate)


def test_an_auc_that_is_nearly_perfect_is_not_rounded_up_in_the_legend() -> None:
    scores = some_scores(2)
    first, second = scores.classes
    assert first.roc is not None
    nearly = replace(first, roc=replace(first.roc, auc=0.9998))
    figure = figures.roc_curves(replace(scores, classes=(nearly, second)), "Title")
    assert figure.legends[0].get_texts()[0].get_text() == "0.9998  000_name"


def test_no_two_of_the_most_roc_curves_that_are_drawn_look_the_same() -> None:
    styles = figures.line_styles(MOST_DRAWN)
    assert len(set(styles)) == MOST_DRAWN
    lines = figures.roc_curves(some_scores(30), "Title").axes[0].lines
    assert [line.get_color() for line in lines[:30]] == [colour for colour, _ in styles[:30]]


def test_a_class_without_a_roc_curve_is_left_out() -> None:
    scores = evaluate(np.array([0, 1], np.int32), np.eye(3, dtype=np.float32)[[0, 1]], ["a", "b", "absent"])
    assert len(figures.roc_curves(scores, "Title").axes[0].lines) == 3


def test_of_very_many_classes_the_roc_curves_with_the_lowest_auc_are_drawn() -> None:
    scores = some_scores(120)
    figure = figures.roc_curves(scores, "Title")
    drawn = [text.get_text() for text in figure.legends[0].get_texts()][:-1]
    names = [text.split()[-1] for text in drawn]
    lowest = sorted(scores.classes, key=lambda each: each.auc or 0)[:100]
    assert names == sorted(each.name for each in lowest)
    assert figure.axes[0].get_title() == "Title, the 100 lowest of 120 AUCs"


@pytest.mark.slow
@pytest.mark.parametrize("classes", [30, 50, 100, 1000])
def test_the_legend_of_many_roc_curves_leaves_room_for_them(classes: int) -> None:
    names = [f"n{index:08d}-soft-coated_wheaten_terrier" for index in range(classes)]
    figure = figures.roc_curves(some_scores(classes, names), "ROC curves by class, test split")
    figure.draw_without_rendering()
    axes, legend = figure.axes[0].get_window_extent(), figure.legends[0].get_window_extent()
    title = figure.axes[0].title.get_window_extent()
    assert axes.width > 400
    assert 0 < title.x0 < title.x1 < legend.x0
    assert axes.x1 < legend.x0
    assert legend.x1 <= 1200


@pytest.mark.parametrize("draw", [figures.confusion_matrix, figures.roc_curves])
def test_odd_names_of_classes_are_drawn_to_the_letter(draw: Callable[[Scores, str], Figure]) -> None:
    scores = some_scores(3, ["_private", "$a_b$", "<b>猫</b>"])
    figure = draw(scores, "Title")
    png(figure)  # raises of a formula that can't be read, and of a character that the font lacks
    texts = [found.get_text() for found in figure.findobj(Text) if isinstance(found, Text)]
    for name in ("_private", r"\$a_b\$", "<b>□</b>"):
        assert any(name in text for text in texts), name


@pytest.mark.slow
@pytest.mark.parametrize("classes", [2, 50])
def test_pictures_are_1200_pixels_wide_and_equal_for_equal_scores(classes: int) -> None:
    first, second = (png(figures.roc_curves(some_scores(classes), "Title")) for _ in range(2))
    assert first == second
    assert int.from_bytes(first[16:20], "big") == 1200


@pytest.mark.slow
def test_drawing_needs_neither_pyplot_nor_tensorflow() -> None:
    program = (
        "import sys, stages.evaluation.figures; print({'matplotlib.pyplot', 'tensorflow', 'keras'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
