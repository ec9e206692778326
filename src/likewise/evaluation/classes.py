"""What tasks on class labels share: labels and domains of the data, figures of a classification."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from likewise.data import Dataset, Splits
from likewise.errors import DataError
from likewise.evaluation.base import Figure
from likewise.evaluation.context import Context
from likewise.metrics.classification import classification_metrics, most_confused

__all__ = [
    "CLASSIFICATION_EXTRAS",
    "across_and_within",
    "class_counts",
    "classification_figures",
    "classify",
    "known_labels",
    "share_classes",
    "training_labels",
    "within_domain",
    "within_domain_figures",
]

# A confusion matrix grows with the square of the classes.
_MAX_CONFUSION_CLASSES = 50
_NUM_CONFUSED = 20

CLASSIFICATION_EXTRAS = ("most_confused", "confusion", "label_names")
"""What `classify` returns beside figures."""


def known_labels(data: Dataset) -> NDArray[np.int64]:
    """(N,) classes, -1 where unknown.

    Raises:
        DataError: no row has one.
    """
    if data.labels is None or not bool((data.labels >= 0).any()):
        raise DataError("this task needs labels, and the data has none; see --data.label-column.")
    return data.labels


def class_counts(data: Dataset | None) -> NDArray[np.int64]:
    """(C,) rows of each class that occurs."""
    labels = np.empty(0, dtype=np.int64) if data is None or data.labels is None else data.labels
    return np.unique(labels[labels >= 0], return_counts=True)[1]


def share_classes(splits: Splits) -> bool:
    """Whether a class of the validation part occurs in the training part."""
    validation = splits.validation
    if validation is None or validation.labels is None or splits.train.labels is None:
        return False
    return bool((np.intersect1d(validation.labels, splits.train.labels) >= 0).any())


def training_labels(context: Context) -> NDArray[np.int64]:
    """(rows,) classes of the training part, which must share a class with the validation part.

    Raises:
        DataError: no training row has a label, or no class is shared.
    """
    labels = known_labels(context.train)
    if not share_classes(context.splits):
        raise DataError(
            "this task learns classes from the training part, and no class of the validation part is among "
            f"its {len(class_counts(context.train))} "
            f"(validation has {len(class_counts(context.validation))}); "
            "few-shot, verification, ranking and clustering need no shared class."
        )
    return labels


def classification_figures(headline: str) -> tuple[Figure, ...]:
    """The figures of `classify`, with a headline for the accuracy."""
    accuracy = Figure(
        "accuracy", "Accuracy", "share", "higher", "chance_accuracy", headline=headline, curve=True
    )
    return (
        accuracy,
        Figure("precision", "Precision (mean over classes)", "share", "higher"),
        Figure("recall", "Recall (mean over classes)", "share", "higher"),
        Figure("f1", "F1 (mean over classes)", "share", "higher"),
        Figure("num_items", "Items", "count"),
    )


def classify(
    labels: NDArray[np.int64], predictions: NDArray[np.int64], names: list[str] | None
) -> dict[str, Any]:
    """Figures of predicted classes, and the most frequent mistakes.

    Args:
        labels: (N,) true classes, -1 where unknown.
        predictions: (N,) predicted classes.
        names: of the classes.
    """
    result = classification_metrics(labels, predictions, len(names or ()) or None)
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
    return figures | {"confusion": result.confusion.tolist(), "label_names": names}


def within_domain_figures(*figures: Figure) -> tuple[Figure, ...]:
    """The same figures as measured inside one domain at a time."""
    return tuple(
        replace(
            figure,
            key=f"within_domain_{figure.key}",
            title=f"Within a domain: {_in_sentence(figure.title)}",
            chance=None if figure.chance is None else f"chance_within_domain_{figure.key}",
            headline=None,
        )
        for figure in figures
    )


def across_and_within(
    measure: Callable[[NDArray[np.int64] | None], dict[str, Any]], data: Dataset
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Figures across domains, and inside one domain at a time.

    Args:
        measure: from (N,) domains to stay inside, or None, to figures.
        data: measured on.

    Returns:
        Both; the second is empty where fewer than two domains occur or they have too few classes each.
    """
    across, domains = measure(None), data.domains
    if domains is None or len(np.unique(domains[domains >= 0])) < 2:
        return across, {}
    try:
        return across, measure(domains)
    except ValueError:
        return across, {}


def within_domain(inside: Mapping[str, Any], figures: tuple[Figure, ...]) -> dict[str, Any]:
    """Values inside one domain, and their chance levels, under the keys of `within_domain_figures`."""
    renamed = {f"within_domain_{key}": inside[key] for figure in figures if (key := figure.key) in inside}
    return renamed | {
        f"chance_within_domain_{figure.key}": inside[figure.chance]
        for figure in figures
        if isinstance(figure.chance, str) and figure.chance in inside
    }


def _in_sentence(title: str) -> str:
    """Without its capital, unless it is an abbreviation such as MAP@R."""
    return title[0].lower() + title[1:] if title[1].islower() else title
