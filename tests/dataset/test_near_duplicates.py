"""The spectrum against a definition with NumPy's FFT, the correlation against shifts that are known, and the search."""

from __future__ import annotations

from io import BytesIO

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from stages.dataset import near_duplicates
from stages.dataset.near_duplicates import FREQUENCIES, SIDE, UNIT, correlations, find_partners, spectra, usual_limit

Grey = NDArray[np.uint8]


def scenes(count: int, seed: int = 0, side: int = SIDE) -> Grey:
    """As unlike each other as photographs are: noise whose amplitude falls with the frequency."""
    noise = np.random.default_rng(seed).normal(size=(count, side, side))
    frequency = np.hypot(np.fft.fftfreq(side)[:, np.newaxis], np.fft.fftfreq(side))
    smooth = np.fft.ifft2(np.fft.fft2(noise) / np.maximum(frequency, 1 / side)).real
    scaled = 128 + 45 * (smooth - smooth.mean()) / smooth.std()
    drawn: Grey = np.rint(np.clip(scaled, 0, 255)).astype(np.uint8)
    return drawn


def articles(count: int) -> Grey:
    """As alike as Fashion-MNIST: ten kinds of grey shapes, centred on black; a kind's sizes and shades differ."""
    generator = np.random.default_rng(1)
    drawn = []
    for index in range(count):
        kind = np.random.default_rng(index % 10)
        corners = np.cumsum(kind.dirichlet(np.ones(9))) * 2 * np.pi
        radii = kind.uniform(0.4, 1, 9) + generator.normal(0, 0.06, 9)
        x, y = generator.normal(12, 1.2, 2)
        image = Image.new("L", (4 * SIDE, 4 * SIDE))
        outline = [
            (64 + 4 * x * r * np.cos(a), 64 + 4 * y * r * np.sin(a)) for a, r in zip(corners, radii, strict=True)
        ]
        ImageDraw.Draw(image).polygon(outline, fill=int(generator.uniform(90, 255)))
        pixels = np.asarray(image.resize((SIDE, SIDE), Image.Resampling.BOX))
        drawn.append(np.clip(pixels + (pixels > 0) * generator.normal(0, 8, pixels.shape), 0, 255).astype(np.uint8))
    return np.stack(drawn)


def partners(grey: Grey, split_of: NDArray[np.int32] | None = None) -> list[list[int]]:
    found: list[list[int]] = find_partners(
        spectra(grey), np.zeros(len(grey), np.int32) if split_of is None else split_of, 0.93
    ).tolist()
    return found


def score(one: Grey, other: Grey) -> float:
    return float(correlations(spectra(np.stack([one, other])), np.array([[1, 0]]))[0])


def test_a_spectrum_holds_the_low_frequencies_of_the_windowed_image() -> None:
    grey = scenes(20)
    position = np.minimum(np.arange(1, 33), np.arange(32, 0, -1))
    window = np.where(position < 8.25, (1 - np.cos(np.pi * position / 8.25)) / 2, 1)
    centred = grey - grey.mean(axis=(1, 2), keepdims=True)
    frequency = np.fft.fft2(centred * window * window[:, np.newaxis])[:, FREQUENCIES[:, 0], FREQUENCIES[:, 1]]
    weighted = frequency * np.hypot(*FREQUENCIES.T) ** 0.75
    expected = np.concatenate([weighted.real, weighted.imag], axis=1)
    expected *= UNIT / np.sqrt((expected**2).sum(axis=1, keepdims=True))
    assert np.abs(spectra(grey) - expected).max() < 1.5


def test_no_constant_lies_where_the_last_bit_of_a_cosine_decides_its_rounding() -> None:
    phases = 2 * np.pi / SIDE * np.arange(SIDE)
    position = np.minimum(np.arange(1, 33), np.arange(32, 0, -1))
    window = np.sin(np.pi / 2 * np.minimum(position / 8.25, 1)) ** 2
    unrounded = [
        UNIT * np.cos(phases),
        UNIT * np.outer(window, np.cos(phases)).ravel(),
        16 * np.hypot(*FREQUENCIES.T) ** 0.75,
    ]
    for values in unrounded:
        assert np.abs(np.abs(values % 1) - 0.5).min() > 1e-9


def test_products_of_spectra_are_exact_in_any_order() -> None:
    codes = spectra(scenes(300))
    assert (codes.astype(np.int64) ** 2).sum(axis=1).max() < 2**24
    exact = codes.astype(np.int64) @ codes.astype(np.int64).T
    assert np.array_equal(near_duplicates._products(codes, codes), exact)


def as_jpeg(grey: Grey, quality: int) -> Grey:
    file = BytesIO()
    Image.fromarray(grey).save(file, "JPEG", quality=quality)
    return np.asarray(Image.open(file))


@pytest.mark.parametrize(
    "change",
    [
        lambda grey: grey,
        lambda grey: grey // 2 + 40,
        lambda grey: as_jpeg(grey, 40),
        lambda grey: np.clip(grey + np.random.default_rng(0).integers(-20, 21, grey.shape), 0, 255).astype(np.uint8),
        lambda grey: np.asarray(Image.fromarray(grey).resize((16, 16)).resize((32, 32))),
        lambda grey: np.asarray(Image.fromarray(grey[1:-1, 1:-1]).resize((32, 32), Image.Resampling.BILINEAR)),
    ],
    ids=["equal", "darker and flatter", "JPEG of quality 40", "noise", "half the resolution", "a pixel cropped"],
)
def test_copies_of_a_scene_correlate(change: object) -> None:
    assert callable(change)
    assert np.mean([score(grey, change(grey)) >= 0.93 for grey in scenes(60)]) >= 0.95


@pytest.mark.parametrize(("down", "right"), [(0, 1), (1, 1), (-2, 0), (1, -2), (2, 2)])
def test_a_shift_costs_little(down: int, right: int) -> None:
    wide = scenes(60, side=48)
    shifted = wide[:, 8 + down : 40 + down, 8 + right : 40 + right]
    scores = [score(one, other) for one, other in zip(wide[:, 8:40, 8:40], shifted, strict=True)]
    unshifted = [
        float(a.astype(int) @ b) / UNIT**2
        for a, b in zip(spectra(wide[:, 8:40, 8:40]), spectra(shifted).astype(int), strict=True)
    ]
    assert np.median(scores) > 0.88
    assert np.median(scores) > np.median(unshifted)


@pytest.mark.slow
def test_different_scenes_do_not_correlate() -> None:
    assert partners(scenes(2000)) == []


def test_a_copy_is_found_among_many_scenes() -> None:
    grey = scenes(2000)
    copies = np.stack([as_jpeg(each, 60) for each in grey[:100]])
    assert partners(np.concatenate([grey, copies])) == [[2000 + index, index] for index in range(100)]


@pytest.mark.slow
def test_alike_articles_are_no_copies_but_their_copies_are() -> None:
    grey = articles(3000)
    assert score(grey[0], grey[10]) > 0.8
    assert len(np.unique(partners(grey))) < 0.01 * len(grey)
    with_copies = np.concatenate([grey, grey[:50] // 2 + 20])
    found = partners(with_copies)
    assert sum([3000 + index, index] in found for index in range(50)) >= 48


def test_copies_are_found_though_every_image_has_one() -> None:
    grey = scenes(40)
    found = partners(np.concatenate([grey, np.stack([as_jpeg(each, 40) for each in grey])]))
    assert found == [[40 + index, index] for index in range(40)]


def test_the_limit_is_what_chance_leaves_to_few_of_the_images() -> None:
    assert 0 < usual_limit(spectra(scenes(1500))) < 0.93 < usual_limit(spectra(articles(1500))) <= 1


@pytest.mark.parametrize("count", [0, 1, 2, 3, 6])
def test_few_images_are_compared_too(count: int) -> None:
    grey = scenes(6)[:count]
    assert partners(grey) == []
    if count:
        assert partners(np.concatenate([grey, grey[:1] // 2 + 40])) == [[count, 0]]


def test_images_of_one_colour_have_no_partner() -> None:
    flat = np.arange(40, dtype=np.uint8)[:, np.newaxis, np.newaxis].repeat(32, axis=1).repeat(32, axis=2)
    assert not spectra(flat).any()
    assert partners(flat) == []
    assert partners(np.concatenate([flat, scenes(2), scenes(1) // 2])) == [[42, 40]]


def test_a_partner_in_the_split_does_not_hide_one_in_another() -> None:
    grey = scenes(1).repeat(4, axis=0)
    grey[1:] = grey[1:] // 2 + np.arange(3, dtype=np.uint8)[:, np.newaxis, np.newaxis]
    found = partners(grey, np.array([0, 0, 1, 1], np.int32))
    assert found == [[1, 0], [2, 0], [2, 1], [3, 0], [3, 1], [3, 2]]


@pytest.mark.slow
def test_thousands_of_images_that_are_all_alike_make_few_pairs() -> None:
    count = 2500
    noise = np.random.default_rng(0).integers(-8, 9, (count, SIDE, SIDE))
    alike = np.clip(scenes(1) + noise, 0, 255).astype(np.uint8)
    alternating = np.arange(2 * count + 500, dtype=np.int32) % 2
    found = np.array(partners(np.concatenate([alike, scenes(count + 500, seed=1)]), alternating))
    assert found.max() < count
    assert len(found) <= 2 * near_duplicates.PARTNERS * count
    same_split = alternating[found[:, 0]] == alternating[found[:, 1]]
    for kind in (found[same_split], found[~same_split]):
        assert len(np.unique(kind)) > 0.9 * count
