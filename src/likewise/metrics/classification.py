"""Accuracy, precision, recall, F1 and the confusion matrix.

N items, C classes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from likewise.metrics.chance import accuracy_chance
from likewise.metrics.inputs import Array, as_labels

__all__ = ["Classification", "calibration_error", "classification_metrics", "most_confused"]


@dataclass(frozen=True, kw_only=True)
class Classification:
    """Figures of predicted classes. Shares in [0, 1]."""

    accuracy: float
    """Share of items predicted right."""
    precision: float
    """Mean over classes: share of the items predicted as the class that are of it."""
    recall: float
    """Mean over classes: share of the items of the class that are predicted as it."""
    f1: float
    """Mean over classes of the harmonic mean of the two."""
    chance_accuracy: float
    """Accuracy of always answering the most frequent class."""
    num_items: int
    """Items with a label."""
    confusion: NDArray[np.int64]
    """(C, C) counts: row the true class, column the predicted one."""

    def figures(self) -> dict[str, float]:
        """The numbers by name."""
        names = ("accuracy", "precision", "recall", "f1", "chance_accuracy", "num_items")
        return {name: getattr(self, name) for name in names}


def classification_metrics(
    labels: Array | list[int], predictions: Array | list[int], num_classes: int | None = None
) -> Classification:
    """Compare predicted classes with true ones.

    Means over classes (macro) are over the classes that occur or are predicted, as in scikit-learn; 0 / 0
    counts as 0 there, as with its `zero_division=0`.

    Args:
        labels: (N,) integers; items with a negative label (unknown) are left out.
        predictions: (N,) integers in [0, C).
        num_classes: C; one more than the greatest number seen when None.

    Raises:
        ValueError: shapes that differ, no item with a label, a class outside [0, C).
    """
    cpu = torch.device("cpu")
    count = len(torch.as_tensor(labels))
    truth = as_labels(labels, "labels", count=count, device=cpu)
    guess = as_labels(predictions, "predictions", count=count, device=cpu)
    truth, guess = truth[truth >= 0], guess[truth >= 0]
    if len(truth) == 0:
        raise ValueError("labels: no item has a label")
    greatest = int(torch.maximum(truth.max(), guess.max()))
    classes = greatest + 1 if num_classes is None else num_classes
    if greatest >= classes or int(guess.min()) < 0:
        raise ValueError(f"classes must lie in [0, {classes}), got {int(guess.min())} to {greatest}")
    confusion = torch.bincount(truth * classes + guess, minlength=classes * classes).reshape(classes, classes)
    return _from_confusion(confusion.numpy(), accuracy_chance(truth))


def calibration_error(
    confidences: NDArray[np.floating[Any]], right: NDArray[np.bool_], *, num_bins: int = 15
) -> float:
    """How far the probabilities of predictions are from the share of these that are right.

    The mean over predictions of | confidence - accuracy | of the prediction's bin, of bins of equal width
    (Guo 2017, arXiv 1706.04599, eq. 3); 0 is best.

    Args:
        confidences: (N,) in [0, 1], the probability of each predicted class.
        right: (N,), whether the prediction is right.
        num_bins: number of bins.

    Raises:
        ValueError: no predictions, or a different number of confidences than of predictions.
    """
    if len(confidences) == 0 or len(confidences) != len(right):
        raise ValueError(f"{len(confidences)} confidences and {len(right)} predictions")
    bins = np.minimum((confidences * num_bins).astype(np.int64), num_bins - 1)
    gaps = np.bincount(bins, confidences - right, num_bins)  # count times difference of means
    return float(np.abs(gaps).sum() / len(confidences))


def _from_confusion(confusion: NDArray[np.int64], chance: float) -> Classification:
    """The figures of a (C, C) confusion matrix."""
    predicted, true = confusion.sum(axis=0), confusion.sum(axis=1)
    seen = (predicted + true) > 0
    hits, predicted, true = np.diagonal(confusion)[seen], predicted[seen], true[seen]
    return Classification(
        accuracy=float(hits.sum() / confusion.sum()),
        precision=float((hits / np.maximum(predicted, 1)).mean()),
        recall=float((hits / np.maximum(true, 1)).mean()),
        f1=float((2 * hits / (predicted + true)).mean()),
        chance_accuracy=chance,
        num_items=int(confusion.sum()),
        confusion=confusion,
    )


def most_confused(confusion: NDArray[np.int64], count: int) -> list[tuple[int, int, int]]:
    """The most frequent mistakes.

    Args:
        confusion: (C, C) counts, row the true class, column the predicted one.
        count: at most this many.

    Returns:
        (true class, predicted class, count), most frequent first; of equal counts the lower classes first.
    """
    mistakes = confusion.copy()
    np.fill_diagonal(mistakes, 0)
    order = np.argsort(-mistakes, axis=None, kind="stable")[:count]
    places = [divmod(int(place), len(mistakes)) for place in order]
    return [(true, guess, int(mistakes[true, guess])) for true, guess in places if mistakes[true, guess] > 0]
