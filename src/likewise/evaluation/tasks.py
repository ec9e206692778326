"""The tasks by name: from a model and the parts of a data set to figures.

Every task is measured on the held-out part; what needs labelled examples (neighbours, the probe) takes
them from the training part. Dimensions: N held-out items, M their captions, D width of the embedding.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from likewise.errors import AbilityError, ConfigError, DataError
from likewise.evaluation.classification import classification_metrics
from likewise.evaluation.collapse import alignment, signs_of_collapse
from likewise.evaluation.neighbours import knn_predict
from likewise.evaluation.probe import linear_probe
from likewise.evaluation.retrieval import retrieval
from likewise.evaluation.templates import prompts
from likewise.evaluation.zero_shot import zero_shot

if TYPE_CHECKING:
    from likewise.data import Dataset, Splits
    from likewise.model import Model

__all__ = ["LEARNING_TASKS", "TASKS", "Embedded", "default_tasks", "evaluate"]

# Neighbours and the probe learn from at most so many labelled training rows.
_MAX_TRAIN_ROWS = 50_000


class Embedded:
    """A model's embeddings of the held-out part (and of the training part, where a task asks), each made
    once.

    Args:
        model: encodes.
        splits: the data; the held-out part is `splits.validation`.
        templates: prompts of zero-shot classification: a set's name, or sentences with one `{}` each.
        max_rows: most held-out rows looked at; None for all.
        max_train_rows: most training rows learnt from.

    Raises:
        DataError: there is no held-out part.
    """

    def __init__(
        self,
        model: Model,
        splits: Splits,
        *,
        templates: str | list[str] = "photo",
        max_rows: int | None = None,
        max_train_rows: int = _MAX_TRAIN_ROWS,
    ) -> None:
        if splits.validation is None:
            raise DataError(
                "there is no held-out part to measure on; see --data.validation and --data.validation-share."
            )
        self.model = model
        self.train = _first_rows(splits.train, max_train_rows)
        self.held_out = _first_rows(splits.validation, max_rows)
        self.splits = replace(splits, train=self.train, validation=self.held_out)
        self.templates = templates

    @cached_property
    def images(self) -> np.ndarray:
        """(N, D) of the held-out pictures."""
        return self.model.encode_dataset_images(self.held_out)

    @cached_property
    def train_images(self) -> np.ndarray:
        """(rows, D) of the training pictures."""
        return self.model.encode_dataset_images(self.train)

    @cached_property
    def captions(self) -> list[str]:
        """All M captions of the held-out part, row by row."""
        return [text for row in self.held_out.texts or [] for text in row]

    @cached_property
    def caption_rows(self) -> np.ndarray:
        """(M,) int64: which row each caption is of."""
        return np.repeat(np.arange(len(self.held_out)), [len(row) for row in self.held_out.texts or []])

    @cached_property
    def texts(self) -> np.ndarray:
        """(M, D) of the held-out captions."""
        return self.model.encode_texts(self.captions)


def _first_rows(dataset: Dataset, count: int | None) -> Dataset:
    if count is None or count >= len(dataset):
        return dataset
    # Spread over the whole part: sources are often sorted by class.
    return dataset.subset(np.linspace(0, len(dataset) - 1, count).astype(np.int64))


def _collapse(embedded: Embedded) -> dict[str, Any]:
    signs = dict(signs_of_collapse(embedded.images))
    if "encode_texts" in embedded.model.abilities and embedded.captions:
        rows, first = np.unique(
            embedded.caption_rows, return_index=True
        )  # rows that have a caption, and its place
        signs["alignment"] = alignment(embedded.images[rows], embedded.texts[first])
    return signs


def _retrieval(embedded: Embedded) -> dict[str, Any]:
    groups = embedded.held_out.groups
    return dict(retrieval(embedded.images, embedded.texts, groups, groups[embedded.caption_rows]))


def _neighbours(embedded: Embedded) -> dict[str, Any]:
    labels, train_labels = _labels(embedded)
    classes = len(embedded.train.label_names or []) or None
    predictions = knn_predict(embedded.train_images, train_labels, embedded.images, k=20, num_classes=classes)
    return _classified(labels, np.asarray(predictions), embedded, classes) | {"k": 20}


def _probe(embedded: Embedded) -> dict[str, Any]:
    labels, train_labels = _labels(embedded)
    known, train_known = labels >= 0, train_labels >= 0
    result = linear_probe(
        embedded.train_images[train_known], train_labels[train_known], embedded.images[known], labels[known]
    )
    classes = len(embedded.train.label_names or []) or None
    return _classified(labels[known], np.asarray(result.predictions), embedded, classes) | {"l2": result.l2}


def _zero_shot(embedded: Embedded) -> dict[str, Any]:
    labels, _ = _labels(embedded)
    names = embedded.held_out.label_names or []
    rows = prompts(names, embedded.templates)  # C lists of T
    vectors = embedded.model.encode_texts([text for row in rows for text in row])
    figures = dict(zero_shot(embedded.images, vectors.reshape(len(rows), len(rows[0]), -1), labels))
    return figures | {"templates": embedded.templates}


def _labels(embedded: Embedded) -> tuple[np.ndarray, np.ndarray]:
    labels, train_labels = embedded.held_out.labels, embedded.train.labels
    if labels is None or train_labels is None:
        raise DataError("this task needs labels, and the data has none; see --data.label-column.")
    return labels, train_labels


def _classified(
    labels: np.ndarray, predictions: np.ndarray, embedded: Embedded, classes: int | None
) -> dict[str, Any]:
    result = classification_metrics(labels.tolist(), predictions.tolist(), classes)
    names = embedded.train.label_names
    return result.figures() | {
        "confusion": result.confusion.tolist(),
        "label_names": list(names) if names is not None else None,
    }


TASKS: dict[str, tuple[Callable[[Embedded], dict[str, Any]], frozenset[str], str]] = {
    "retrieval": (
        _retrieval,
        frozenset({"encode_images", "encode_texts", "texts"}),
        "captions for pictures and back",
    ),
    "neighbours": (
        _neighbours,
        frozenset({"encode_images", "labels"}),
        "classes by the 20 nearest training pictures",
    ),
    "probe": (
        _probe,
        frozenset({"encode_images", "labels"}),
        "classes by a linear classifier on frozen features",
    ),
    "zero-shot": (
        _zero_shot,
        frozenset({"encode_images", "encode_texts", "labels"}),
        "classes by their names alone",
    ),
    "collapse": (_collapse, frozenset({"encode_images"}), "spread, effective rank, alignment, uniformity"),
}
"""By name: the function, what it needs of the model and the data, and a line of help."""

LEARNING_TASKS = frozenset({"neighbours", "probe"})
"""Tasks that learn from the training part's labels."""


def default_tasks(model: Model, splits: Splits) -> list[str]:
    """The tasks that this model and data allow; none without a held-out part."""
    data = splits.validation
    if data is None:
        return []
    having = set(model.abilities)
    having |= {"texts"} if any(data.texts or []) else set()
    having |= {"labels"} if _has_labels(data) and _has_labels(splits.train) else set()
    fitting = [name for name, (_, needs, _) in TASKS.items() if needs <= having]
    return fitting if len(data) > 1 else [name for name in fitting if name != "collapse"]


def _has_labels(data: Dataset) -> bool:
    return data.labels is not None and bool((data.labels >= 0).any())


def evaluate(embedded: Embedded, task: str) -> dict[str, Any]:
    """One task's figures, with the fingerprint of the data they were measured on.

    Raises:
        ConfigError: no task has that name.
        AbilityError: the model lacks what the task needs.
        DataError: the data lacks it.
    """
    if task not in TASKS:
        raise ConfigError(f"no task is called {task!r}; there are {', '.join(TASKS)}.")
    function, needs, _ = TASKS[task]
    lacking = sorted(
        need for need in needs if need.startswith("encode_") and need not in embedded.model.abilities
    )
    if lacking:
        raise AbilityError(
            f"{task} needs a model that can {' and '.join(lacking)}; this one can {embedded.model.abilities}."
        )
    if "texts" in needs and embedded.held_out.texts is None:
        raise DataError(f"{task} needs captions, and the data has none; see --data.text-column.")
    try:
        figures = function(embedded)
    except ValueError as error:  # the pure functions' word for data that they cannot measure
        raise DataError(f"{task} cannot be measured on this data: {error}") from error
    return figures | {"data_fingerprint": embedded.held_out.fingerprint}
