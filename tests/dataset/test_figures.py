"""Pictures of a dataset: the samples as they are, and no larger for larger images."""

from __future__ import annotations

import numpy as np
import pytest

from stages.dataset import figures


@pytest.mark.parametrize(("size", "side"), [(16, 16), (32, 32), (64, 64), (512, 64)])
def test_a_sample_is_shown_pixel_by_pixel_or_made_smaller(size: int, side: int) -> None:
    images = np.random.default_rng(0).integers(0, 256, (4, size, size, 3), dtype=np.uint8)
    figure = figures.samples(images, np.array([0, 0, 1, 1], np.int32), ["a", "b"])
    sheet = np.asarray(figure.axes[0].images[0].get_array())
    pitch = side + max(1, side // 16)
    assert sheet.shape == (2 * pitch, figures.SAMPLES_A_CLASS * pitch, 3)
    for row, column, image in ((0, 0, 0), (0, 1, 1), (1, 0, 2), (1, 1, 3)):
        own = sheet[row * pitch : row * pitch + side, column * pitch : column * pitch + side]
        blocks = images[image].reshape(side, size // side, side, size // side, 3)
        np.testing.assert_allclose(own, blocks.mean(axis=(1, 3)), atol=1)


def test_a_long_name_of_a_class_stands_beside_its_samples_from_its_first_letter_on() -> None:
    images = np.zeros((2, 32, 32, 3), np.uint8)
    names = [f"n{index:08d}-soft-coated_wheaten_terrier" for index in range(2)]
    figure = figures.samples(images, np.array([0, 1], np.int32), names)
    figure.draw_without_rendering()
    for text in figure.axes[0].texts:
        assert text.get_window_extent().x0 > 0


@pytest.mark.parametrize(("classes", "bars", "title"), [(100, 100, ""), (2500, 100, ", 100 of 2,500 classes")])
def test_bars_of_very_many_classes_are_a_selection_that_says_so(classes: int, bars: int, title: str) -> None:
    counts = np.arange(classes)
    axes = figures.class_counts({"train": counts, "test": counts}, [f"{index}" for index in range(classes)]).axes[0]
    names = [label.get_text() for label in axes.get_yticklabels()]
    assert len(names) == bars
    assert (names[0], names[-1]) == ("0", str(classes - 1))
    assert axes.get_title() == f"Images of each class, by split{title}"
    train = axes.patches[:bars]
    assert [bar.get_width() for bar in train] == [int(name) for name in names]  # type: ignore[attr-defined]
