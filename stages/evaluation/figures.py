"""Figures of the training and the scores. Each function returns a figure and saves nothing; none uses pyplot."""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil
from typing import Any

import numpy as np

from stages.common.drawing import (
    BLUE,
    LONGEST_NAME,
    ORANGE,
    Axes,
    ConstrainedLayoutEngine,
    Figure,
    MaxNLocator,
    PercentFormatter,
    drawable,
)
from stages.common.rounding import number
from stages.evaluation.calibration import BINS, Bin
from stages.evaluation.scores import Scores, drawn_curves
from stages.model.history import Training

WIDTH = 12.0  # inches: 1200 pixels at 100 dots per inch, which fit with DVC's frame into a window of 1280
GREY = "#595959"
# Tol's "muted" colours, made for the same purpose, and black; line styles distinguish more than ten curves.
CURVE_COLOURS = (
    "#332288", "#CC6677", "#117733", "#DDCC77", "#88CCEE", "#882255", "#44AA99", "#999933", "#AA4499", "#000000",
)  # fmt: skip
CURVE_DASHES = (
    "-", "--", "-.", (0, (1, 1)), (0, (8, 3)), (0, (8, 3, 1, 3, 1, 3)), (0, (3, 1, 1, 1)), (0, (14, 3)),
    (0, (14, 3, 2, 3)), (0, (1, 3)),
)  # fmt: skip
MOST_MARKED = 50  # epochs with a mark each; those of more would run into one thick line
LEGEND_ROWS = 40  # fit beside the ROC curves
MOST_NAMES = 100  # fit at a side of a matrix in letters that can be read
MOST_COUNTED = 50  # classes: in a larger matrix a cell has no room for its count
FEW = 12  # classes: their names fit below a matrix at 45 degrees, and their zeros don't hide the other counts


def training_curves(training: Training) -> Figure:
    """Accuracy and loss by epoch for training and validation, with the best epoch and the learning-rate drops."""
    figure = _figure(6.0)
    accuracy_axes, loss_axes = figure.subplots(1, 2)
    numbers = [each.epoch for each in training.epochs]
    circle, square = ("o", "s") if len(numbers) <= MOST_MARKED else ("", "")
    for axes, title, learnt, validated in (
        (accuracy_axes, "accuracy", [e.accuracy for e in training.epochs], [e.val_accuracy for e in training.epochs]),
        (loss_axes, "loss", [e.loss for e in training.epochs], [e.val_loss for e in training.epochs]),
    ):
        # Not clipped, because a loss that hardly falls lies on the frame's edge.
        axes.plot(numbers, learnt, f"{circle}-", color=ORANGE, label=f"Training {title}", clip_on=False)
        axes.plot(numbers, validated, f"{square}--", color=BLUE, label=f"Validation {title}", clip_on=False)
        _mark_events(axes, training)
        axes.set_title(f"Training and validation {title}")
        axes.set_xlabel("Epoch")
        axes.set_xlim(numbers[0] - 0.5, numbers[-1] + 1)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.grid(alpha=0.3)
        axes.legend()
    accuracy_axes.set_ylabel("Accuracy")
    accuracy_axes.yaxis.set_major_formatter(PercentFormatter(1.0))
    loss_axes.set_ylabel("Loss (cross-entropy, nats)")
    loss_axes.set_ylim(bottom=0)
    return figure


def confusion_matrix(scores: Scores, title: str) -> Figure:
    """Images by actual class (row) and predicted class (column); the colour is the share of the actual class.

    Of more than :data:`MOST_NAMES` classes every second, third, ... is named.
    """
    count = len(scores.classes)
    figure = _figure(10.5)
    axes = figure.subplots()
    support = scores.confusion.sum(axis=1, keepdims=True)
    shares = np.divide(scores.confusion, support, out=np.zeros(scores.confusion.shape), where=support > 0)
    image = axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    few = count <= FEW
    if count <= MOST_COUNTED:
        for (row, column), images in np.ndenumerate(scores.confusion):
            if images or few:
                colour = "white" if shares[row, column] > 0.5 else "black"
                size = min(13.0, 240 / count)
                written = axes.text(column, row, f"{images}", ha="center", va="center", color=colour, fontsize=size)
                written.set_in_layout(False)  # it fits its cell, and measuring a hundred takes long
    axes.set_title(title)
    named = range(0, count, ceil(count / MOST_NAMES))
    names = [drawable(scores.class_names[index]) for index in named]
    label_size = max(6.0, min(11.0, 480 / count))
    slanted = {"rotation": 45, "ha": "right", "rotation_mode": "anchor"} if few else {"rotation": 90}
    axes.set_xticks(named, names, fontsize=label_size, **slanted)
    axes.set_yticks(named, names, fontsize=label_size)
    axes.set_xlabel("Predicted class")
    axes.set_ylabel("Actual class")
    bar = figure.colorbar(image, ax=axes, shrink=0.8, format=PercentFormatter(1.0, decimals=0))
    bar.set_label("Share of the actual class")
    return figure


def roc_curves(scores: Scores, title: str) -> Figure:
    """The ROC curve of each class against all others, its AUC in the legend, and the diagonal of chance.

    Of many classes only those that :func:`drawn_curves` returns.
    """
    figure = _figure(9.0)
    axes = figure.subplots()
    curves = drawn_curves(scores)
    columns = 1 + len(curves) // LEGEND_ROWS
    longest = LONGEST_NAME if columns == 1 else 48 // columns  # characters
    for (name, curve), (colour, style) in zip(curves.items(), line_styles(len(curves)), strict=True):
        text = f"{number(curve.auc, 3)}  {drawable(name, longest)}"
        axes.plot(curve.false_positive_rate, curve.true_positive_rate, color=colour, linestyle=style, label=text)
    axes.plot([0, 1], [0, 1], ":", color=GREY, label="0.500  chance")
    axes.set_xlim(-0.01, 1.01)
    axes.set_ylim(-0.01, 1.01)
    all_curves = sum(each.roc is not None for each in scores.classes)
    axes.set_title(title if len(curves) == all_curves else f"{title}, the {len(curves)} lowest of {all_curves:,} AUCs")
    axes.set_xlabel("False positive rate")
    axes.set_ylabel("True positive rate")
    axes.grid(alpha=0.3)
    size = 10 if columns == 1 else 8
    figure.legend(title="AUC    Class", alignment="left", loc="outside right upper", ncols=columns, fontsize=size)
    return figure


def reliability(bins: Sequence[Bin], title: str) -> Figure:
    """Accuracy by confidence, the diagonal of perfect calibration, and below the number of images in each bin."""
    figure = _figure(8.0)
    axes, histogram = figure.subplots(2, 1, height_ratios=[3, 1], sharex=True)
    confidence = [each.confidence for each in bins]
    axes.plot([0, 1], [0, 1], ":", color=GREY, label="Perfect calibration")
    accuracy, images = ([each.accuracy for each in bins], [each.images for each in bins])
    # A point of few images says little, so it is small.
    axes.plot(confidence, accuracy, "-", color=BLUE, alpha=0.4)
    axes.scatter(confidence, accuracy, 10 + 150 * np.array(images) / max(images), color=BLUE, label="Model")
    axes.set_title(title)
    axes.set_ylabel("Accuracy")
    axes.set_ylim(-0.02, 1.02)
    axes.legend()
    histogram.bar(confidence, images, width=0.5 / BINS, color=BLUE)
    histogram.set_ylabel("Images")
    histogram.set_xlabel("Confidence (probability of the predicted class)")
    histogram.set_xlim(-0.01, 1.01)
    for each in (axes, histogram):
        each.grid(alpha=0.3)
        each.set_axisbelow(True)
    return figure


def _figure(height: float) -> Figure:
    return Figure(figsize=(WIDTH, height), layout=ConstrainedLayoutEngine(w_pad=0.12, h_pad=0.12))


def _mark_events(axes: Axes, training: Training) -> None:
    axes.axvline(training.best_epoch, color=GREY, linestyle="-", alpha=0.6, label=f"Best epoch ({training.best_epoch})")
    for rank, epoch in enumerate(training.learning_rate_drops or ()):
        # The rate drops between two epochs. Only the first has a label, which keeps the legend short.
        axes.axvline(epoch + 0.5, color=GREY, linestyle=":", label="Learning rate drops" if rank == 0 else None)


def line_styles(count: int) -> Sequence[tuple[str, Any]]:
    """Colour and line style of ``count`` curves: all colours with solid lines, then all with dashed ones, and so on."""
    return [(colour, style) for style in CURVE_DASHES for colour in CURVE_COLOURS][:count]
