"""Computes metrics from labels and probabilities, with scikit-learn's definitions and as the notebook does.

- Precision of a class: the share of the images predicted as it that are of it; 0 if it is never predicted. Recall: the
  share of its images that are predicted as it. F1: their harmonic mean.
- AUC of a class: the area under its ROC curve, the class against all others. Undefined (None) if no other class has
  images.
- Macro: the plain mean over the classes. Weighted: the mean weighted by each class's number of images.

A class without images says nothing about the model: its figures are undefined (None), and it counts in no average.
(scikit-learn would set its precision, recall and F1 to 0, and count them in the macro averages if it is predicted.)
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import auc, confusion_matrix, precision_recall_fscore_support, roc_curve

from stages.common.console import UserError

# Counts in place of 0, whose logarithm is infinite. Not the 1e-7 at which Keras clips where it has no logits: it has
# them in training, and the saved model should have the loss that the training noted.
SMALLEST_PROBABILITY = float(np.finfo(np.float32).tiny)
THINNED_PIECES = 100
MOST_DRAWN = 100  # classes in a plot; nobody could tell more curves apart, and those of 1,000 would be 14 MB of rows


@dataclass(frozen=True)
class RocCurve:
    """The ROC curve of one class against all others.

    Attributes:
        false_positive_rate: float64, shape (points,), non-decreasing from 0 to 1.
        true_positive_rate: the same for the class's own images.
        auc: area under the curve of all points, 0 to 1; 0.5 is chance.
    """

    false_positive_rate: NDArray[np.float64]
    true_positive_rate: NDArray[np.float64]
    auc: float


@dataclass(frozen=True)
class ClassScores:
    """The scores of one class, ratios from 0 to 1, None if undefined; ``support`` is its number of images."""

    name: str
    precision: float | None
    recall: float | None
    f1: float | None
    support: int
    roc: RocCurve | None

    @property
    def auc(self) -> float | None:
        return None if self.roc is None else self.roc.auc


@dataclass(frozen=True)
class Scores:
    """A model's scores on one split; ratios from 0 to 1.

    Attributes:
        loss: mean sparse categorical cross-entropy, in nats.
        auc_macro: None if no class has an AUC.
        classes: in the order of the labels.
        predicted: int64, shape (n,), the index of each image's most probable class; of equal ones the first.
        confusion: int64, shape (classes, classes), images by actual class (row) and predicted class (column).
    """

    loss: float
    accuracy: float
    precision_macro: float
    recall_macro: float
    f1_macro: float
    precision_weighted: float
    recall_weighted: float
    f1_weighted: float
    auc_macro: float | None
    classes: tuple[ClassScores, ...]
    predicted: NDArray[np.int64]
    confusion: NDArray[np.int64]

    @property
    def class_names(self) -> tuple[str, ...]:
        """The names of the classes, in the order of ``confusion``."""
        return tuple(each.name for each in self.classes)


def evaluate(labels: NDArray[np.int32], probabilities: NDArray[np.float32], classes: Sequence[str]) -> Scores:
    """Score a model's probabilities for the images of a split; it predicts the most probable class.

    Args:
        labels: shape (n,), n at least 1, indices into ``classes``.
        probabilities: shape (n, classes), rows that sum to 1.
        classes: the names of the classes.

    Raises:
        UserError: a probability is not a number.
    """
    if not np.isfinite(probabilities).all():
        raise UserError("the model's probabilities are not numbers: training diverged; lower train.learning_rate")
    predicted = probabilities.argmax(axis=1)
    present = np.unique(labels)
    by_class, macro, weighted = (
        precision_recall_fscore_support(labels, predicted, labels=present, average=average, zero_division=0.0)
        for average in (None, "macro", "weighted")
    )
    ratios: dict[int, tuple[float | None, float | None, float | None]]
    ratios = {i: (float(p), float(r), float(f1)) for i, p, r, f1, _ in zip(present.tolist(), *by_class, strict=True)}
    curves = [_roc_curve(labels == index, probabilities[:, index]) for index in range(len(classes))]
    areas = [curve.auc for curve in curves if curve is not None]
    return Scores(
        loss=float(cross_entropies(labels, probabilities).mean()),
        accuracy=float(np.mean(labels == predicted)),
        precision_macro=float(macro[0]),
        recall_macro=float(macro[1]),
        f1_macro=float(macro[2]),
        precision_weighted=float(weighted[0]),
        recall_weighted=float(weighted[1]),
        f1_weighted=float(weighted[2]),
        auc_macro=float(np.mean(areas)) if areas else None,
        classes=tuple(
            ClassScores(name, *ratios.get(i, (None, None, None)), int(np.sum(labels == i)), curves[i])
            for i, name in enumerate(classes)
        ),
        predicted=predicted,
        confusion=confusion_matrix(labels, predicted, labels=range(len(classes))),
    )


def cross_entropies(labels: NDArray[np.int32], probabilities: NDArray[np.float32]) -> NDArray[np.float64]:
    """The sparse categorical cross-entropy of each image in nats, shape (n,); their mean is the loss.

    The arguments are those of :func:`evaluate`.
    """
    own = probabilities[np.arange(len(labels)), labels].astype(np.float64)  # of each image's actual class
    entropies: NDArray[np.float64] = np.abs(np.log(np.clip(own, SMALLEST_PROBABILITY, 1)))  # abs, or 1 would give -0.0
    return entropies


def headline(scores: Scores) -> dict[str, float]:
    """The figures that compare two runs, by name, in reading order."""
    return {
        "loss": scores.loss,
        "accuracy": scores.accuracy,
        "precision_macro": scores.precision_macro,
        "recall_macro": scores.recall_macro,
        "f1_macro": scores.f1_macro,
        "precision_weighted": scores.precision_weighted,
        "recall_weighted": scores.recall_weighted,
        "f1_weighted": scores.f1_weighted,
    }


def by_class(scores: Scores) -> dict[str, dict[str, float | int | None]]:
    """The figures of each class, by its name."""
    return {
        each.name: {
            "precision": each.precision,
            "recall": each.recall,
            "f1": each.f1,
            "auc": each.auc,
            "support": each.support,
        }
        for each in scores.classes
    }


def f1_bars(scores: Scores) -> list[dict[str, str | float]]:
    """A row ``class``, ``f1`` for each class that has images; of very many only for those with the lowest F1."""
    f1 = {each.name: each.f1 for each in scores.classes if each.f1 is not None}
    return [{"class": name, "f1": f1[name]} for name in _lowest(f1)]


def roc_points(scores: Scores) -> list[dict[str, str | float]]:
    """A row ``class``, ``auc``, ``fpr``, ``tpr`` for each point of the drawn ROC curves; see :func:`thinned`."""
    return [
        {"class": name, "auc": curve.auc, "fpr": float(fpr), "tpr": float(tpr)}
        for name, curve in drawn_curves(scores).items()
        for fpr, tpr in _points(thinned(curve))
    ]


def drawn_curves(scores: Scores) -> dict[str, RocCurve]:
    """The ROC curves by class, in the order of the classes; of very many only those with the lowest AUC."""
    curves = {each.name: each.roc for each in scores.classes if each.roc is not None}
    return {name: curves[name] for name in _lowest({name: curve.auc for name, curve in curves.items()})}


def _lowest(values: dict[str, float]) -> list[str]:
    """The names of the :data:`MOST_DRAWN` lowest values, or of all, in their order."""
    lowest = set(sorted(values, key=values.__getitem__)[:MOST_DRAWN])
    return [name for name in values if name in lowest]


def thinned(curve: RocCurve) -> RocCurve:
    """The same curve with at most 200 of its points, for plots; its ``auc`` stays that of all points.

    A ROC curve rises from (0, 0) to (1, 1) and never falls, so along both axes its length is 2. This length is cut into
    100 equal pieces, and the first and last point of each are kept. A piece loses at most half of a square with sides
    of 0.01, so the area loses at most 100 × 0.01² / 2 = 0.005; with 10,000 images it loses about 0.00005.
    """
    length = curve.false_positive_rate + curve.true_positive_rate
    piece = np.minimum((length / 2 * THINNED_PIECES).astype(int), THINNED_PIECES - 1)
    border = np.diff(piece) != 0
    kept = np.r_[True, border] | np.r_[border, True]
    return RocCurve(curve.false_positive_rate[kept], curve.true_positive_rate[kept], curve.auc)


def _points(curve: RocCurve) -> Iterator[tuple[float, float]]:
    return zip(curve.false_positive_rate, curve.true_positive_rate, strict=True)


def _roc_curve(is_class: NDArray[np.bool_], probability: NDArray[np.float32]) -> RocCurve | None:
    if is_class.all() or not is_class.any():
        return None
    false_positive_rate, true_positive_rate, _ = roc_curve(is_class, probability)
    return RocCurve(false_positive_rate, true_positive_rate, float(auc(false_positive_rate, true_positive_rate)))
