"""Which classes are taken for one another by their nearest neighbours."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from likewise.metrics.classification import classification_metrics, most_confused
from likewise.metrics.neighbours import knn_predict
from likewise.reporting.galleries import Tile
from likewise.reporting.inputs import ReportInputs
from likewise.reporting.pictures import picture_uri

__all__ = ["Confusions", "ConfusedPair", "find_confusions"]

_LARGEST_MATRIX = 20


@dataclass(frozen=True)
class ConfusedPair:
    """A mistake that is made often."""

    true: str
    predicted: str
    count: int
    total: int
    """Items of the true class."""
    examples: list[Tile]


@dataclass(frozen=True)
class Confusions:
    """Confusions of a vote of neighbours, each item left out of its own vote."""

    pairs: list[ConfusedPair]
    accuracy: float
    chance: float
    num_items: int
    """Items that were asked."""
    num_alone: int
    """Items without another of their class: they vote, but nobody could vote right for them."""
    k: int
    names: list[str]
    """Of the classes, in the order of the matrix; empty when there are too many to show."""
    matrix: list[list[tuple[int, float]]]
    """Counts and shares of the true class; row the true class, column the predicted one."""


def find_confusions(
    inputs: ReportInputs, *, k: int = 20, num_pairs: int = 8, num_examples: int = 4
) -> Confusions:
    """Confusions among the labelled images of the report, which need two or more.

    Raises:
        ValueError: every image is alone in its class.
    """
    assert inputs.image_embeddings is not None
    assert inputs.labels is not None
    rows = np.flatnonzero(np.asarray(inputs.labels) >= 0)
    labels = np.asarray(inputs.labels, dtype=np.int64)[rows]
    embeddings = np.asarray(inputs.image_embeddings)[rows]
    predicted = knn_predict(embeddings, labels, embeddings, k=k, leave_one_out=True).cpu().numpy()
    num_voters = len(rows)
    asked = np.bincount(labels)[labels] > 1
    if not asked.any():
        raise ValueError(
            f"Each of {num_voters:,} labelled images is alone in its class: no vote can be right."
        )
    rows, labels, predicted = rows[asked], labels[asked], predicted[asked]
    result = classification_metrics(labels, predicted)
    pairs = []
    for true, guess, count in most_confused(result.confusion, num_pairs):
        shown = rows[(labels == true) & (predicted == guess)][:num_examples]
        pairs.append(
            ConfusedPair(
                inputs.label_name(true),
                inputs.label_name(guess),
                count,
                int((labels == true).sum()),
                [
                    Tile(
                        f"{inputs.label_name(true)} taken for {inputs.label_name(guess)}",
                        _uri(inputs, int(place)),
                    )
                    for place in shown
                ],
            )
        )
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


def _uri(inputs: ReportInputs, index: int) -> str | None:
    return None if inputs.thumbnails is None else picture_uri(inputs.thumbnails[index])


def _matrix(
    inputs: ReportInputs, confusion: NDArray[np.int64]
) -> tuple[list[str], list[list[tuple[int, float]]]]:
    """The classes that occur, and their confusion; both empty when there are more than fit a page."""
    seen = np.flatnonzero(confusion.sum(axis=0) + confusion.sum(axis=1))
    if len(seen) > _LARGEST_MATRIX:
        return [], []
    rows = []
    for true in seen:
        total = max(1, int(confusion[true].sum()))
        rows.append([(int(confusion[true, guess]), int(confusion[true, guess]) / total) for guess in seen])
    return [inputs.label_name(int(label)) for label in seen], rows
