"""Augmentation: what is drawn depends on seed, epoch and image alone, and is done to the pixels as drawn."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from stages.model.augmentation import GREY, augment, draw
from stages.model.backend import tf
from stages.model.settings import Augmentation

SIZE = 6
IMAGES = np.random.default_rng(1).integers(0, 256, (40, SIZE, SIZE, 3), dtype=np.uint8)


def section(**changes: Any) -> Augmentation:
    return Augmentation.model_validate({"mirror": "none", "shift": 0, "cutout": 0} | changes)


def augmented(by: Augmentation, drawn: NDArray[np.int32]) -> NDArray[np.uint8]:
    result: NDArray[np.uint8] = tf.function(lambda images, numbers: augment(by, images, numbers))(IMAGES, drawn).numpy()
    return result


def drawn_for(by: Augmentation, seed: int = 1, epoch: int = 1) -> NDArray[np.int32]:
    return draw(by, len(IMAGES), SIZE, seed, epoch)


@pytest.mark.slow
def test_an_image_is_mirrored_and_shifted_with_reflected_borders_as_numpy_would() -> None:
    by = section(mirror="random", shift=2)
    drawn = drawn_for(by)
    padded = np.pad(IMAGES, ((0, 0), (2, 2), (2, 2), (0, 0)), mode="reflect")
    for image, found, (mirrored, down, right, *_) in zip(padded, augmented(by, drawn), drawn, strict=True):
        turned = image[:, ::-1] if mirrored else image
        np.testing.assert_array_equal(found, turned[2 - down : 2 - down + SIZE, 2 - right : 2 - right + SIZE])
    assert set(drawn[:, 0]) == {0, 1}
    assert set(drawn[:, 1]) == set(drawn[:, 2]) == {-2, -1, 0, 1, 2}


def test_the_square_is_grey_and_ends_at_the_border() -> None:
    by = section(cutout=3)
    drawn = drawn_for(by)
    for image, found, (*_, row, column) in zip(IMAGES, augmented(by, drawn), drawn, strict=True):
        expected = image.copy()
        expected[max(0, row - 1) : row + 2, max(0, column - 1) : column + 2] = GREY
        np.testing.assert_array_equal(found, expected)


def test_alternating_mirrors_each_image_in_every_other_epoch() -> None:
    by = section(mirror="alternating")
    first, second, third = (drawn_for(by, epoch=epoch)[:, 0] for epoch in (1, 2, 3))
    assert set(first) == {0, 1}
    np.testing.assert_array_equal(second, 1 - first)
    np.testing.assert_array_equal(third, first)


def test_another_seed_or_epoch_draws_anew_and_the_same_one_the_same() -> None:
    by = section(mirror="random", shift=2, cutout=2)
    np.testing.assert_array_equal(drawn_for(by), drawn_for(by))
    assert not np.array_equal(drawn_for(by), drawn_for(by, seed=2))
    assert not np.array_equal(drawn_for(by), drawn_for(by, epoch=2))


def test_no_augmentation_leaves_every_pixel_as_it_is() -> None:
    np.testing.assert_array_equal(augmented(section(), drawn_for(section())), IMAGES)


@pytest.mark.parametrize("shift", [SIZE, 5 * SIZE])
def test_a_shift_beyond_the_image_still_takes_pixels_of_it(shift: int) -> None:
    by = section(shift=shift)
    assert set(np.unique(augmented(by, drawn_for(by)))) <= set(np.unique(IMAGES))
