"""The most confident mistakes: which they are, and that they come back from their file as they were."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from stages.evaluation import mistakes

CLASSES = ("blue", "green | <script>alert(1)</script>", "red & *grey*")
LABELS = np.zeros(40, np.int32)
CONFIDENCE = np.linspace(0.5, 0.99, 40, dtype=np.float32)[::-1]
IMAGES = np.arange(40, dtype=np.uint8)[:, None, None, None] * np.ones((1, 4, 4, 3), np.uint8)


@pytest.fixture
def found() -> list[mistakes.Mistake]:
    probabilities = np.stack([1 - CONFIDENCE, CONFIDENCE, np.zeros_like(CONFIDENCE)], axis=1)
    probabilities[0] = [1, 0, 0]  # the most confident prediction of all, and right
    return mistakes.most_confident(IMAGES, LABELS, probabilities, CLASSES, [f"{row}.png" for row in range(40)])


def first_value(picture: bytes) -> int:
    with Image.open(io.BytesIO(picture)) as image:
        return int(np.asarray(image)[0, 0, 0])


def test_the_mistakes_are_the_most_confident_ones_and_as_many_as_fit(found: list[mistakes.Mistake]) -> None:
    assert [first_value(each.picture) for each in found] == list(range(1, mistakes.MOST + 1))
    assert [each.name for each in found] == [f"{row}.png" for row in range(1, mistakes.MOST + 1)]
    assert {(each.actual, each.predicted) for each in found} == {(CLASSES[0], CLASSES[1])}
    assert found[0].probability == pytest.approx(CONFIDENCE[1])


def test_what_is_written_is_read_back_and_a_row_is_a_mistake(tmp_path: Path, found: list[mistakes.Mistake]) -> None:
    file = tmp_path / "mistakes.json"
    mistakes.write(file, found)
    assert len(file.read_text().splitlines()) == mistakes.MOST + 2
    for each, back in zip(found, mistakes.load(file), strict=True):
        assert (back.name, back.actual, back.predicted) == (each.name, each.actual, each.predicted)
        assert back.picture == each.picture
        assert back.probability == pytest.approx(each.probability, abs=1e-6)


def test_a_model_without_mistakes_has_an_empty_list(tmp_path: Path) -> None:
    right = np.eye(3, dtype=np.float32)[[0, 0]]
    assert mistakes.most_confident(IMAGES[:2], LABELS[:2], right, CLASSES, ["a", "b"]) == []
    mistakes.write(tmp_path / "mistakes.json", [])
    assert mistakes.load(tmp_path / "mistakes.json") == []
