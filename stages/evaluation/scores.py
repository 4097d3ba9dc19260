"""Labels and predicted probabilities to metrics. It knows no files, no drawing and no network.

The definitions are scikit-learn's, called as the notebook calls them:

- precision of a class: its images among those predicted as it; recall: those predicted as it among its images; F1:
  their harmonic mean. The precision of a class that is never predicted counts as 0.
- AUC of a class: the area under its ROC curve, the class against all others. It is undefined (None) for the only class
  that has images.
- macro: the plain mean over the classes; weighted: the mean weighted by the number of images of each class.

A class without images shows nothing of the model: its figures are undefined (None), and it counts in no average.
(scikit-learn would call its precision, recall and F1 0, and count them in the macro averages once it is predicted.)
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import auc, confusion_matrix, precision_recall_fscore_support, roc_curve

from stages.common.console import UserError

# Keras clips probabilities here before it takes the logarithm. In training it has the logits and clips nothing, so the
# losses differ where an image's own class gets less than this.
SMALLEST_PROBABILITY = 1e-7
THINNED_CELLS = 100


@dataclass(frozen=True)
class RocCurve:
    """The ROC curve of one class against all others.

    Attributes:
        false_positive_rate: float64, shape (points,), 0 to 1, never falling; starts at 0, ends at 1.
        true_positive_rate: the same for the class's own images.
        auc: area under the curve of all points, 0 to 1; 0.5 is chance.
    """

    false_positive_rate: NDArray[np.float64]
    true_positive_rate: NDArray[np.float64]
    auc: float


@dataclass(frozen=True)
class ClassScores:
    """How well one class is told from the others; ratios from 0 to 1, None where undefined.

    Attributes:
        support: number of images of the class in the split.
    """

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
    """What a model reaches on one split; ratios from 0 to 1.

    Attributes:
        loss: mean sparse categorical cross-entropy, in nats.
        auc_macro: None where no class has an AUC.
        classes: in the order of the labels.
        predicted: int64, shape (n,), index of the most probable class of each image; of equals the first.
        confusion: int64, shape (classes, classes); row: actual class, column: predicted class, value: images.
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
    """Score the probabilities that a model gives to the images of a split; the most probable class is the prediction.

    Args:
        labels: shape (n,), n at least 1, indices into ``classes``.
        probabilities: shape (n, classes), rows that sum to 1.
        classes: the names of the classes.

    Raises:
        UserError: the model was trained on another number of classes, or a probability is not a number.
    """
    if probabilities.shape[1] != len(classes):
        raise UserError(
            f"the model has {probabilities.shape[1]} classes, the split {len(classes)}; train it on these (`dvc repro`)"
        )
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
    entropies: NDArray[np.float64] = -np.log(np.clip(own, SMALLEST_PROBABILITY, 1 - SMALLEST_PROBABILITY))
    return entropies


def headline(scores: Scores) -> dict[str, float]:
    """The figures by which two runs are compared, by name, in the order in which they are read."""
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
    """F1 of each class that has images as rows ``class``, ``f1``."""
    return [{"class": each.name, "f1": each.f1} for each in scores.classes if each.f1 is not None]


def roc_points(scores: Scores) -> list[dict[str, str | float]]:
    """The thinned ROC curves as rows ``class``, ``auc``, ``fpr``, ``tpr``, curve by curve; see :func:`thinned`."""
    return [
        {"class": each.name, "auc": each.roc.auc, "fpr": float(fpr), "tpr": float(tpr)}
        for each in scores.classes
        if each.roc is not None
        for fpr, tpr in _points(thinned(each.roc))
    ]


def thinned(curve: RocCurve) -> RocCurve:
    """The same curve in at most 200 of its points, for plots; its ``auc`` stays that of all points.

    A ROC curve climbs from (0, 0) to (1, 1) and never falls, so its way, counted along both axes, is 2 long. The way is
    cut into 100 equal pieces, and the first and the last point in each are kept. What is lost inside a piece is at most
    half of a square with sides of 0.01, so all that is lost of the area is at most 100 × 0.01² / 2 = 0.005; with
    10,000 images it is about 0.00005.
    """
    way = curve.false_positive_rate + curve.true_positive_rate
    piece = np.minimum((way / 2 * THINNED_CELLS).astype(int), THINNED_CELLS - 1)
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
