"""The tasks by name: from a model and the parts of a data set to figures.

Every task is measured on the held-out part; what learns from labelled examples (neighbours, the probe) takes
them from the training part. The tasks of class_tasks.py need labels of the held-out part alone, whose classes
may be others than training's.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from likewise.errors import AbilityError, ConfigError, DataError
from likewise.evaluation.class_tasks import (
    class_tasks_of,
    clusters,
    episodes,
    known_labels,
    rankings,
    verified,
)
from likewise.evaluation.context import Embedded, Episodes
from likewise.messages import closest
from likewise.metrics.classification import classification_metrics, most_confused
from likewise.metrics.collapse import alignment, signs_of_collapse
from likewise.metrics.linear_probe import linear_probe
from likewise.metrics.neighbours import knn_predict
from likewise.metrics.prompts import prompts
from likewise.metrics.reranking import reranked_retrieval
from likewise.metrics.retrieval import retrieval
from likewise.metrics.zero_shot import zero_shot

if TYPE_CHECKING:
    from likewise.data import Splits
    from likewise.model.model import Model

__all__ = ["LEARNING_TASKS", "TASKS", "Embedded", "Episodes", "check_task", "default_tasks", "evaluate"]

# The matrix grows with the square of the classes; beyond these it would be megabytes that nobody reads.
_MAX_CONFUSION_CLASSES = 50
_NUM_CONFUSED = 20


def _collapse(embedded: Embedded) -> dict[str, Any]:
    signs = dict(signs_of_collapse(embedded.images))
    labels = embedded.held_out.labels
    if labels is not None and bool((labels >= 0).any()):
        signs["num_classes"] = float(len(np.unique(labels[labels >= 0])))
    if "encode_texts" in embedded.model.abilities and embedded.captions:
        # Rows that have a caption, and the place of their first.
        rows, first = np.unique(embedded.caption_rows, return_index=True)
        signs["alignment"] = alignment(embedded.images[rows], embedded.texts[first])
    return signs


def _retrieval(embedded: Embedded) -> dict[str, Any]:
    groups = embedded.held_out.groups
    given = (embedded.images, embedded.texts, groups, groups[embedded.caption_rows])
    ids = embedded.caption_ids
    figures = dict(retrieval(*given, text_ids=ids))
    if embedded.rerank is None:
        return figures
    return figures | reranked_retrieval(
        *given, judge=embedded.judge, num_judged=embedded.rerank, text_ids=ids
    )


def _neighbours(embedded: Embedded) -> dict[str, Any]:
    labels, train_labels = _labels(embedded)
    classes = len(embedded.train.label_names or []) or None
    predictions = knn_predict(embedded.train_images, train_labels, embedded.images, k=20, num_classes=classes)
    figures = _classified(labels, np.asarray(predictions), embedded, classes)
    return figures | {"k": 20, "num_train": int((train_labels >= 0).sum())}


def _probe(embedded: Embedded) -> dict[str, Any]:
    labels, train_labels = _labels(embedded)
    known, train_known = labels >= 0, train_labels >= 0
    result = linear_probe(
        embedded.train_images[train_known], train_labels[train_known], embedded.images[known], labels[known]
    )
    classes = len(embedded.train.label_names or []) or None
    figures = _classified(labels[known], np.asarray(result.predictions), embedded, classes)
    return figures | {"l2": result.l2, "converged": result.converged, "num_train": result.num_train}


def _zero_shot(embedded: Embedded) -> dict[str, Any]:
    labels = known_labels(embedded.held_out)
    names = embedded.held_out.label_names or []
    rows = prompts(names, embedded.templates)  # C lists of T
    vectors = embedded.model.encode_texts([text for row in rows for text in row])
    figures = dict(zero_shot(embedded.images, vectors.reshape(len(rows), len(rows[0]), -1), labels))
    return figures | {"templates": embedded.templates}


def _labels(embedded: Embedded) -> tuple[np.ndarray, np.ndarray]:
    """Labels of the held-out and the training part, which must have a class in common."""
    if not _share_classes(embedded.splits):
        labels, train_labels = (known_labels(part) for part in (embedded.held_out, embedded.train))
        raise DataError(
            "this task learns classes from the training part, and no class of the held-out part is among its "
            f"{len(np.unique(train_labels[train_labels >= 0]))} "
            f"(held out: {len(np.unique(labels[labels >= 0]))}); "
            "few-shot, verification, ranking and clustering need no shared class."
        )
    return known_labels(embedded.held_out), known_labels(embedded.train)


def _share_classes(splits: Splits) -> bool:
    """Whether a class of the held-out part occurs in the training part."""
    held_out = splits.validation
    if held_out is None or held_out.labels is None or splits.train.labels is None:
        return False
    shared = np.intersect1d(held_out.labels, splits.train.labels)
    return bool((shared >= 0).any())


def _classified(
    labels: np.ndarray, predictions: np.ndarray, embedded: Embedded, classes: int | None
) -> dict[str, Any]:
    result = classification_metrics(labels.tolist(), predictions.tolist(), classes)
    names = embedded.train.label_names
    mistakes = [
        {
            "class": true if names is None else names[true],
            "taken_for": guess if names is None else names[guess],
            "count": count,
        }
        for true, guess, count in most_confused(result.confusion, _NUM_CONFUSED)
    ]
    figures = result.figures() | {"most_confused": mistakes}
    if len(result.confusion) > _MAX_CONFUSION_CLASSES:
        return figures
    return figures | {
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
        frozenset({"encode_images", "labels", "shared classes"}),
        "classes by the 20 nearest training pictures",
    ),
    "probe": (
        _probe,
        frozenset({"encode_images", "labels", "shared classes"}),
        "classes by a linear classifier on frozen features",
    ),
    "zero-shot": (
        _zero_shot,
        frozenset({"encode_images", "encode_texts", "labels"}),
        "classes by their names alone",
    ),
    "few-shot": (
        episodes,
        frozenset({"encode_images", "labels"}),
        "classes known by an example each",
    ),
    "verification": (
        verified,
        frozenset({"encode_images", "labels"}),
        "whether two pictures are of one class",
    ),
    "ranking": (
        rankings,
        frozenset({"encode_images", "labels"}),
        "how purely a picture's own class comes first",
    ),
    "clustering": (
        clusters,
        frozenset({"encode_images", "labels"}),
        "whether k-means finds the classes",
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
    having |= {"shared classes"} if _share_classes(splits) else set()
    learnt = np.empty(0, np.int64) if splits.train.labels is None else splits.train.labels
    counts = np.unique(learnt[learnt >= 0], return_counts=True)[1]
    # A probe tells classes apart, and holds rows of one out to choose its regularisation by.
    supported = class_tasks_of(data) | {"probe": len(counts) >= 2 and bool((counts >= 2).any())}
    having |= {"labels"} if data.labels is not None and bool((data.labels >= 0).any()) else set()
    fitting = [name for name, (_, needs, _) in TASKS.items() if needs <= having]
    fitting = [name for name in fitting if supported.get(name, True)]
    return fitting if len(data) > 1 else [name for name in fitting if name != "collapse"]


def check_task(task: str) -> None:
    """Raise where no task has that name.

    Raises:
        ConfigError: none has; the message names the nearest.
    """
    if task not in TASKS:
        hint = closest(task, TASKS) or f"there are {', '.join(TASKS)}."
        raise ConfigError(f"no task is called {task!r}; {hint}")


def evaluate(embedded: Embedded, task: str) -> dict[str, Any]:
    """One task's figures, with the fingerprint of the data they were measured on.

    Raises:
        ConfigError: no task has that name.
        AbilityError: the model lacks what the task needs.
        DataError: the data lacks it.
    """
    check_task(task)
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
