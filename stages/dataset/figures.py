"""Figures of a dataset: samples of each class, and the number of its images. They are returned, never saved."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from stages.common.drawing import Figure, FuncFormatter, MaxNLocator, drawable

WIDTH = 11.0  # inches
SAMPLES_A_CLASS = 12
MOST_PIXELS = 64  # a side of a sample, drawn with one dot a pixel
MOST_ROWS = 40  # of samples; more classes would make the picture too tall
MOST_BARS = 100  # classes with bars, for the same reason
LABEL_WIDTH = 2.6  # inches left of the samples
TITLE_HEIGHT = 0.5  # inches


def samples(images: NDArray[np.uint8], labels: NDArray[np.int32], classes: Sequence[str]) -> Figure:
    """A row of images for each class, spread evenly over its images.

    Args:
        images: shape (n, size, size, 3), RGB.
        labels: shape (n,), indices into ``classes``.
    """
    drawn = _spread(len(classes), MOST_ROWS)
    size = min(images.shape[1], MOST_PIXELS)
    pitch = size + max(1, size // 16)  # from one sample to the next, in their pixels
    sheet = np.full((len(drawn) * pitch, SAMPLES_A_CLASS * pitch, 3), 255, np.uint8)
    for row, class_index in enumerate(drawn):
        candidates = np.flatnonzero(labels == class_index)
        count = min(len(candidates), SAMPLES_A_CLASS)
        chosen = candidates[np.arange(count) * len(candidates) // max(count, 1)]
        for column, pixels in enumerate(images[chosen]):
            image = np.asarray(Image.fromarray(pixels).resize((size, size), Image.Resampling.BOX))
            sheet[row * pitch : row * pitch + size, column * pitch : column * pitch + size] = image

    # At 100 dots an inch, a sample of 32 pixels a side and its gap take 68 dots: exactly two for each pixel.
    sheet_width = SAMPLES_A_CLASS * 0.68
    sheet_height = len(drawn) * 0.68
    width, height = LABEL_WIDTH + sheet_width + 0.1, sheet_height + TITLE_HEIGHT
    figure = Figure(figsize=(width, height))
    axes = figure.add_axes((LABEL_WIDTH / width, 0, sheet_width / width, sheet_height / height))
    axes.imshow(sheet, interpolation="nearest" if pitch <= 68 else "antialiased", aspect="auto")
    axes.set_axis_off()
    names = [drawable(classes[index]) for index in drawn]
    label_size = 11 if max(map(len, names)) <= 24 else 8.5  # longer names would begin outside of the picture
    for row in range(len(drawn)):
        axes.text(-pitch / 5, row * pitch + size / 2, names[row], ha="right", va="center", fontsize=label_size)
    title = f"Samples of the training images{_selection(drawn, classes)}"
    figure.text(0.5, 1 - 0.25 / height, title, ha="center", va="center", fontsize=14)
    return figure


def class_counts(counts: Mapping[str, NDArray[np.int64]], classes: Sequence[str]) -> Figure:
    """Bars of the number of images of each class, one colour a split.

    Args:
        counts: for each split, shape (number of classes,).
    """
    drawn = _spread(len(classes), MOST_BARS)
    bar = 0.8 / len(counts)
    row = 0.48 if len(drawn) <= 20 else 0.3  # inches
    figure = Figure(figsize=(WIDTH, max(2.5, 1.4 + row * len(drawn))), layout="constrained")
    axes = figure.add_subplot()
    positions = np.arange(len(drawn))
    for index, (split, split_counts) in enumerate(counts.items()):
        axes.barh(positions + (index - (len(counts) - 1) / 2) * bar, split_counts[drawn], height=bar, label=split)
    axes.set_yticks(positions, [drawable(classes[index]) for index in drawn])
    axes.set_ylim(len(drawn) - 0.4, -0.6)  # the first class on top
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
    axes.set_xlabel("images")
    axes.set_ylabel("class")
    axes.set_title(f"Images of each class, by split{_selection(drawn, classes)}")
    axes.grid(axis="x", alpha=0.3)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    figure.legend(loc="outside right upper", frameon=False)
    return figure


def _spread(count: int, most: int) -> NDArray[np.intp]:
    """The indices of ``count`` classes, or of ``most`` of them, spread evenly, the first and the last included."""
    return np.linspace(0, count - 1, min(count, most)).round().astype(np.intp)


def _selection(drawn: NDArray[np.intp], classes: Sequence[str]) -> str:
    """What a title says of the classes that are left out."""
    return "" if len(drawn) == len(classes) else f", {len(drawn)} of {len(classes):,} classes"
