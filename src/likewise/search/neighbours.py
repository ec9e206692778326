"""Classes by the labels of the nearest rows of an index."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from likewise.errors import DataError
from likewise.search.index import Index

__all__ = ["NeighbourClassifier"]

_TEMPERATURE = 0.07


class NeighbourClassifier:
    """Weighs the labels of the k nearest rows by exp(cosine / 0.07) (Wu 2018, arXiv 1805.01978, section 3.4).

    Args:
        index: has labels; rows without one are left out.
        neighbours: k.

    Raises:
        DataError: the index has fewer than two classes.
    """

    def __init__(self, index: Index, *, neighbours: int = 20) -> None:
        labels = index.table["label"].to_pylist()
        self.classes = tuple(sorted({label for label in labels if label is not None}))
        if len(self.classes) < 2:
            raise DataError(f"{index.folder} has {len(self.classes)} classes; expected at least two.")
        numbers = {label: number for number, label in enumerate(self.classes)}
        self._labels = np.array([numbers.get(label, -1) for label in labels], np.int64)
        self._rows = np.flatnonzero(self._labels >= 0)
        self._index, self._neighbours = index, neighbours

    def probabilities(self, vectors: NDArray[np.float32]) -> NDArray[np.float32]:
        """(N, C) float32 of the unit vectors (N, D); rows sum to one."""
        found = self._index.search(vectors, top=self._neighbours, rows=self._rows)
        weights = np.exp((found.scores - found.scores[:, :1]) / _TEMPERATURE)  # (N, k)
        votes = np.zeros((len(vectors), len(self.classes)), np.float64)
        np.add.at(votes, (np.arange(len(vectors))[:, None], self._labels[found.rows]), weights)
        return np.asarray(votes / votes.sum(axis=1, keepdims=True), np.float32)
