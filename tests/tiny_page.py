"""What the report's page shows of a small, drawn run.

One of its classes is called like a tag of HTML, and one has a name that no line holds.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np

from stages.common.files import png
from stages.common.thumbnails import thumbnail
from stages.dataset.near_pairs import NearPair
from stages.evaluation import calibration, figures, mistakes, scores
from stages.evaluation.results import Interval, Results
from stages.model.history import Epoch, Training
from stages.model.summary import Layer
from stages.page import render
from stages.page.render import Page
from tests.defaults import SETTINGS

CLASSES = ("blue" * 50, "green | <script>alert(1)</script>", "red & *grey*")
NAMES = [f"test/some & class/{row:02d}.png" for row in range(60)]


def some_page(**changes: Any) -> Page:
    return Page(**_content() | changes)


@cache  # it takes a second to draw the pictures
def _content() -> dict[str, Any]:
    random = np.random.default_rng(1)
    labels = np.arange(60, dtype=np.int32) % 3
    weights = random.random((60, 3)) + 0.4 * np.eye(3)[labels]
    probabilities = (weights / weights.sum(axis=1, keepdims=True)).astype(np.float32)
    images = random.integers(0, 256, (60, 8, 8, 3), dtype=np.uint8)
    found = scores.evaluate(labels, probabilities, CLASSES)
    headline = scores.headline(found) | {"auc_macro": found.auc_macro}
    intervals = {name: Interval(0.51 + i / 100, 0.79) for i, name in enumerate(render.METRICS)}
    pictures = (thumbnail(images[0]), thumbnail(images[1]))
    bins = calibration.reliability(labels, probabilities)
    training = Training((Epoch(1, 1.5, 0.4, 1.4, 0.45, 0.01), Epoch(2, 1.2, 0.5, 1.3, 0.5, 0.01)), 2, (), False, 499)
    return {
        "settings": {
            "seed": SETTINGS.seed,
            "dataset": SETTINGS.dataset.model_dump(),
            "model": SETTINGS.model.model_dump(),
            "train": SETTINGS.train.model_dump(),
        },
        "dataset": {
            "train_images": 4000,
            "validation_images": 1000,
            "test_images": 60,
            "classes": 3,
            "near_duplicates": 2,
            "near_leaked_images": 1,
            "near_leaked_test_images": 1,
            "warnings": {"total": 3, "near_duplicate": 2, "near_leakage": 1},
        },
        "layers": [Layer("Conv2D", "32, 32, 16", 448, 442_368), Layer("Dense", "3", 51, 48)],
        "training": training,
        "findings_on_training": ["The model does not overfit."],
        "results": Results(headline, intervals, scores.by_class(found)),
        "findings_on_test": [f"Most often confused: {CLASSES[0]} and <b>green</b>."],
        "calibration_error": calibration.expected_calibration_error(bins),
        "curves": png(figures.training_curves(training)),
        "confusion": png(figures.confusion_matrix(found, "Confusion matrix")),
        "roc": png(figures.roc_curves(found, "ROC curves")),
        "reliability": png(figures.reliability(bins, "Reliability")),
        "mistakes": mistakes.most_confident(images, labels, probabilities, CLASSES, NAMES),
        "near_duplicates": [NearPair("near_leakage", ("a/blue/1.png", "b/blue/2.png"), pictures)],
        "versions": {"keras": "3.0"},
    }
