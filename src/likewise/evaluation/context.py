"""A model's embeddings of a data set's parts, computed when a task reads them.

N validation rows, M captions of them, D embedding width.
"""

from __future__ import annotations

from dataclasses import replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from likewise.data import Dataset, Splits
from likewise.errors import DataError
from likewise.metrics.relevance import ids_of_texts
from likewise.model.classes import class_probabilities
from likewise.model.inputs import dataset_batches
from likewise.model.model import Model

__all__ = ["Context", "labels_of"]

# Neighbours and the probe learn from at most this many training rows.
_MAX_TRAIN_ROWS = 50_000


class Context:
    """A model, data, and the model's embeddings of that data, each computed once.

    Args:
        model: the model to evaluate.
        splits: the data; tasks measure on `splits.validation`.
        max_rows: use at most this many validation rows; None for all.
        max_train_rows: use at most this many training rows.

    Raises:
        DataError: there is no validation part.
    """

    def __init__(
        self,
        model: Model,
        splits: Splits,
        *,
        max_rows: int | None = None,
        max_train_rows: int = _MAX_TRAIN_ROWS,
    ) -> None:
        if splits.validation is None:
            raise DataError(
                "there is no validation part to measure on; see --data.validation and "
                "--data.validation-share."
            )
        self.model = model
        self.train = _spread_rows(splits.train, max_train_rows)
        self.validation = _spread_rows(splits.validation, max_rows)
        self.splits = replace(splits, train=self.train, validation=self.validation)

    @cached_property
    def images(self) -> np.ndarray:
        """(N, D) embeddings of the validation images, or of the sounds for a model of these."""
        return self.model.encode_dataset_images(self.validation)

    @cached_property
    def sounds(self) -> np.ndarray:
        """(N, D) embeddings of the validation sounds, beside those of the images."""
        return self.model.encode_dataset_images(self.validation, column="audio")

    @cached_property
    def class_probabilities(self) -> np.ndarray:
        """(N, C) probabilities of the model's own classes for the validation images."""
        return class_probabilities(self.model, dataset_batches(self.validation, 256))

    @cached_property
    def train_images(self) -> np.ndarray:
        """(rows, D) embeddings of the training images."""
        return self.model.encode_dataset_images(self.train)

    @cached_property
    def labels(self) -> NDArray[np.int64]:
        """(N,) classes of the validation rows, -1 where unknown."""
        return labels_of(self.validation)

    @cached_property
    def train_labels(self) -> NDArray[np.int64]:
        """(rows,) classes of the training rows, -1 where unknown."""
        return labels_of(self.train)

    @cached_property
    def captions(self) -> list[str]:
        """All M captions of the validation part, row by row."""
        return [text for row in self.validation.texts or [] for text in row]

    @cached_property
    def caption_rows(self) -> np.ndarray:
        """(M,) int64 validation row of each caption."""
        return np.repeat(np.arange(len(self.validation)), [len(row) for row in self.validation.texts or []])

    @cached_property
    def caption_ids(self) -> np.ndarray:
        """(M,) int64, equal for equal captions of any rows."""
        return ids_of_texts(self.captions)

    @cached_property
    def texts(self) -> np.ndarray:
        """(M, D) embeddings of the validation captions."""
        return self.model.encode_texts(self.captions)


def labels_of(data: Dataset) -> NDArray[np.int64]:
    """(N,) classes, -1 where unknown."""
    return np.full(len(data), -1) if data.labels is None else data.labels


def _spread_rows(dataset: Dataset, count: int | None) -> Dataset:
    """At most `count` rows, evenly spaced: sources are often sorted by class."""
    if count is None or count >= len(dataset):
        return dataset
    return dataset.subset(np.linspace(0, len(dataset) - 1, count).astype(np.int64))
