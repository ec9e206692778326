"""Classes that are confused by their nearest neighbours.

C classes that occur.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from likewise.metrics.classification import classification_metrics, most_confused
from likewise.metrics.neighbours import knn_predict
from likewise.reporting.examples.galleries import Tile, image_tile
from likewise.reporting.inputs import ReportInputs

__all__ = ["ConfusedPair", "Confusions", "find_confusions"]

_LARGEST_MATRIX = 20


@dataclass(frozen=True)
class ConfusedPair:
    """A frequent mistake."""

    true: str
    predicted: str
    count: int
    total: int
    """Images of the true class."""
    examples: list[Tile]


@dataclass(frozen=True)
class Confusions:
    """Confusions of a leave-one-out vote of nearest neighbours."""

    pairs: list[ConfusedPair]
    accuracy: float
    chance: float
    num_items: int
    """Images that are classified."""
    num_alone: int
    """Images without another of their class: they vote, but no vote could classify them correctly."""
    k: int
    names: list[str]
    """Classes in the order of the matrix; empty where there are too many to show."""
    matrix: list[list[tuple[int, float]]]
    """(C, C) counts and shares of the true class; rows are true classes, columns predicted ones."""


def find_confusions(
    inputs: ReportInputs, *, k: int = 20, num_pairs: int = 8, num_examples: int = 4
) -> Confusions:
    """Confusions among the labelled images.

    Raises:
        ValueError: no labels, or each image is alone in its class.
    """
    embeddings, labels = inputs.labelled_embeddings()
    rows = np.flatnonzero(labels >= 0)
    embeddings, labels = embeddings[rows], labels[rows]
    predicted = knn_predict(embeddings, labels, embeddings, k=k, leave_one_out=True).cpu().numpy()
    num_voters = len(rows)
    classified = np.bincount(labels)[labels] > 1
    if not classified.any():
        raise ValueError(
            f"Each of {num_voters:,} labelled images is alone in its class: no vote can be right."
        )
    rows, labels, predicted = rows[classified], labels[classified], predicted[classified]
    result = classification_metrics(labels, predicted)
    pairs = [
        ConfusedPair(
            inputs.label_name(true),
            inputs.label_name(guess),
            count,
            int((labels == true).sum()),
            [
                image_tile(inputs, row)
                for row in rows[(labels == true) & (predicted == guess)][:num_examples].tolist()
            ],
        )
        for true, guess, count in most_confused(result.confusion, num_pairs)
    ]
    names, matrix = _matrix(inputs, result.confusion)
    return Confusions(
        pairs=pairs,
        accuracy=result.accuracy,
        chance=result.chance_accuracy,
        num_items=len(rows),
        num_alone=num_voters - len(rows),
        k=min(k, num_voters - 1),
        names=names,
        matrix=matrix,
    )


def _matrix(
    inputs: ReportInputs, confusion: NDArray[np.int64]
) -> tuple[list[str], list[list[tuple[int, float]]]]:
    """Names and confusion of the classes that occur; both empty where they do not fit a page."""
    seen = np.flatnonzero(confusion.sum(axis=0) + confusion.sum(axis=1))
    if len(seen) > _LARGEST_MATRIX:
        return [], []
    counts = confusion[np.ix_(seen, seen)]
    shares = counts / counts.sum(axis=1, keepdims=True).clip(min=1)
    cells = [list(zip(*row, strict=True)) for row in zip(counts.tolist(), shares.tolist(), strict=True)]
    return [inputs.label_name(label) for label in seen.tolist()], cells
