"""The predictions by name, to their file and back."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from stages.evaluation import predictions


def test_predictions_name_the_images_and_the_classes() -> None:
    labels, predicted = np.array([0, 1, 1]), np.array([0, 0, 1])
    named = predictions.named(["a.png", "b.png", "c.png"], labels, predicted, ["cat", "dog"])
    assert named == [("a.png", "cat", "cat"), ("b.png", "dog", "cat"), ("c.png", "dog", "dog")]


def test_what_is_written_is_read_back_whatever_the_names_are(tmp_path: Path) -> None:
    named = predictions.named(
        ['a, "b".png', "c;d e.png", "é.png"], np.array([0, 1, 1]), np.array([1, 1, 0]), ["x", " "]
    )
    predictions.write(tmp_path / "predictions.csv", named)
    text = (tmp_path / "predictions.csv").read_bytes().decode()
    assert text.startswith("image,actual,predicted\n")
    assert predictions.parse(text) == named


@pytest.mark.parametrize(
    "text", ["", "image,actual,predicted\n", "actual,predicted\na,b\n", "image,actual,predicted\na,b\n"]
)
def test_other_tables_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"^it has no rows with the columns image, actual, predicted$"):
        predictions.parse(text)
