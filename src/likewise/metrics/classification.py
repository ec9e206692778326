"""Accuracy, precision, recall, F1 and the confusion matrix.

N items, C classes.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from likewise.metrics.chance import accuracy_chance
from likewise.metrics.inputs import Array, as_labels

__all__ = ["Classification", "classification_metrics", "most_confused"]


@dataclass(frozen=True, kw_only=True)
class Classification:
    """How predictions compare with the truth. Shares in [0, 1]."""

    accuracy: float
    """Share of the items whose class was found."""
    precision: float
    """Mean over classes of: of the items called this class, the share that is."""
    recall: float
    """Mean over classes of: of the items of this class, the share that was called so."""
    f1: float
    """Mean over classes of the harmonic mean of the two."""
    chance_accuracy: float
    """Accuracy of always answering the commonest class."""
    num_items: int
    """How many items were counted."""
    confusion: NDArray[np.int64]
    """(C, C) counts: row the true class, column the predicted one."""
    precision_by_class: NDArray[np.float64]
    """(C,); NaN for a class that neither occurs nor was predicted, 0 for one that was never predicted."""
    recall_by_class: NDArray[np.float64]
    """(C,); NaN for a class that neither occurs nor was predicted, 0 for one that does not occur."""
    f1_by_class: NDArray[np.float64]
    """(C,); NaN for a class that neither occurs nor was predicted."""

    def figures(self) -> dict[str, float]:
        """The single numbers, ready for a table or a JSON file."""
        names = ("accuracy", "precision", "recall", "f1", "chance_accuracy", "num_items")
        return {name: getattr(self, name) for name in names}


def classification_metrics(
    labels: Array | list[int], predictions: Array | list[int], num_classes: int | None = None
) -> Classification:
    """Compare predicted classes with true ones.

    Means over classes ("macro") run over the classes that occur or were predicted, as scikit-learn's do by
    default; a ratio of nothing to nothing counts as 0 there, as with its `zero_division=0`.

    Args:
        labels: (N,) integers; items with a negative label (none known) are left out.
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


def _from_confusion(confusion: NDArray[np.int64], chance: float) -> Classification:
    """The figures of a (C, C) confusion matrix."""
    hits, called, true = np.diagonal(confusion), confusion.sum(axis=0), confusion.sum(axis=1)
    seen = (called + true) > 0
    by_class = {
        "precision": np.where(seen, hits / np.maximum(called, 1), np.nan),
        "recall": np.where(seen, hits / np.maximum(true, 1), np.nan),
        "f1": np.where(seen, 2 * hits / np.maximum(called + true, 1), np.nan),
    }
    return Classification(
        accuracy=float(hits.sum() / confusion.sum()),
        precision=float(by_class["precision"][seen].mean()),
        recall=float(by_class["recall"][seen].mean()),
        f1=float(by_class["f1"][seen].mean()),
        chance_accuracy=chance,
        num_items=int(confusion.sum()),
        confusion=confusion,
        precision_by_class=by_class["precision"],
        recall_by_class=by_class["recall"],
        f1_by_class=by_class["f1"],
    )


def most_confused(confusion: NDArray[np.int64], count: int) -> list[tuple[int, int, int]]:
    """The commonest mistakes.

    Args:
        confusion: (C, C) counts, row the true class, column the predicted one.
        count: how many at most.

    Returns:
        (true class, predicted class, how often), commonest first, only those that happened; of equally common
        ones, by the numbers of the classes.
    """
    mistakes = confusion.copy()
    np.fill_diagonal(mistakes, 0)
    order = np.argsort(-mistakes, axis=None, kind="stable")[:count]
    places = [divmod(int(place), len(mistakes)) for place in order]
    return [(true, guess, int(mistakes[true, guess])) for true, guess in places if mistakes[true, guess] > 0]
