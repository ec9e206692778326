"""What tasks on class labels share: labels and domains of the data, figures of a classification."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from likewise.data import Dataset
from likewise.evaluation.base import Figure
from likewise.evaluation.context import labels_of
from likewise.metrics.classification import classification_metrics, most_confused

__all__ = [
    "CLASSIFICATION_EXTRAS",
    "classification_figures",
    "classify",
    "measure_domains",
    "own_classes",
    "within_domain_figures",
]

# A confusion matrix grows with the square of the classes.
_MAX_CONFUSION_CLASSES = 50
_NUM_CONFUSED = 20

CLASSIFICATION_EXTRAS = ("most_confused", "confusion", "label_names")
"""What `classify` returns beside figures."""


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


def own_classes(data: Dataset, classes: Sequence[str]) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """The labels of a dataset among the classes of a model, which may be spelled in another case.

    Returns:
        (N,) numbers of the model's classes, -1 where there is none; (N,) whether a row has another class.
    """
    numbers = {name.casefold(): number for number, name in enumerate(classes)}
    numbers |= {name: number for number, name in enumerate(classes)}
    found = [numbers.get(name, numbers.get(name.casefold(), -1)) for name in data.label_names or ()]
    labels = labels_of(data)
    own = np.array([*found, -1], np.int64)[labels]  # the last is that of rows without a class
    return own, (labels >= 0) & (own < 0)


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


def measure_domains(
    measure: Callable[[NDArray[np.int64] | None], dict[str, Any]], data: Dataset, figures: tuple[Figure, ...]
) -> dict[str, Any]:
    """Figures across domains, and inside one domain at a time where the data has several.

    Args:
        measure: from (N,) domains to stay inside, or None, to figures.
        data: measured on.
        figures: those to return from inside, see `within_domain_figures`.

    Returns:
        Both, and what only the measurement inside domains returned.
    """
    across, domains = measure(None), data.domains
    if domains is None or len(np.unique(domains[domains >= 0])) < 2:
        return across
    try:
        inside = measure(domains)
    except ValueError:  # each domain has too few classes
        return across
    found = across | {key: value for key, value in inside.items() if key not in across}
    for figure, within in zip(figures, within_domain_figures(*figures), strict=True):
        found[within.key] = inside[figure.key]
        if isinstance(figure.chance, str) and isinstance(within.chance, str):
            found[within.chance] = inside[figure.chance]
    return found


def _in_sentence(title: str) -> str:
    """Without its capital, unless it is an abbreviation such as MAP@R."""
    return title[0].lower() + title[1:] if title[1].islower() else title
