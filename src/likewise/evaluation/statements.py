"""What the tasks on statements about images share: verdicts on a dataset, their figures and baselines.

M statements, C classes of the model.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from likewise.data import Dataset
from likewise.evaluation.base import Figure
from likewise.evaluation.classes import CLASSIFICATION_EXTRAS, classification_figures, classify, own_classes
from likewise.evaluation.context import Context
from likewise.evaluation.text_baselines import (
    BASELINE_FIGURES,
    accuracy_error,
    most_frequent,
    rows_of_other_groups,
    text_only_predictions,
    with_other_images,
)
from likewise.metrics.relevance import ids_of_texts
from likewise.model.verdicts import class_names, judge_dataset

__all__ = ["STATEMENT_EXTRAS", "Statements", "measure_statements", "statement_figures", "statements_of"]

STATEMENT_EXTRAS = (*CLASSIFICATION_EXTRAS, "note")
"""What `measure_statements` returns beside figures."""


def statement_figures(headline: str) -> tuple[Figure, ...]:
    """The figures of `measure_statements`, with a headline for the accuracy."""
    return (
        *classification_figures(headline),
        *BASELINE_FIGURES,
        Figure("consistency", "Statements that are right with all their images", "share", "higher"),
        Figure(
            "majority_consistency",
            "The same for training's most frequent class",
            "share",
            "higher",
            baseline=True,
        ),
        Figure("num_statements", "Statements with several images", "count"),
        Figure("num_unknown", "Left out: classes that the model does not know", "count"),
        Figure("num_unlabelled", "Left out: no class", "count"),
    )


@dataclass(frozen=True, kw_only=True)
class Statements:
    """M statements of a dataset whose class is known.

    Attributes:
        texts: the statements.
        rows: (M,) the row of each.
        labels: (M,) its class among the model's.
        num_unknown: statements left out: their class is none of the model's.
        num_unlabelled: statements left out: they have no class.
    """

    texts: list[str]
    rows: NDArray[np.int64]
    labels: NDArray[np.int64]
    num_unknown: int
    num_unlabelled: int


def statements_of(data: Dataset, classes: list[str]) -> Statements:
    """The statements of a dataset; those of rows without a class are left out.

    Args:
        data: with texts and labels.
        classes: of the model, by whose order classes are numbered.
    """
    labels, unknown = own_classes(data, classes)
    texts = data.texts or [()] * len(data)
    counts = np.array([len(several) for several in texts], np.int64)
    listed = [(row, text) for row, several in enumerate(texts) for text in several if labels[row] >= 0]
    rows = np.array([row for row, _ in listed], np.int64)
    return Statements(
        texts=[text for _, text in listed],
        rows=rows,
        labels=labels[rows],
        num_unknown=int(counts[unknown].sum()),
        num_unlabelled=int(counts[(labels < 0) & ~unknown].sum()),
    )


def measure_statements(context: Context, ability: str) -> dict[str, Any]:
    """Figures of a model's verdicts on the validation statements.

    Args:
        context: model and data.
        ability: `entail` or `compare`.

    Raises:
        ValueError: no statement has a class that the model knows.
    """
    model, data = context.model, context.validation
    names = class_names(model)
    found = statements_of(data, names)
    if not found.texts:
        raise ValueError(
            f"no statement has a class that the model knows ({', '.join(names)}); the data's are "
            f"{', '.join(data.label_names or ['none'])}"
        )
    predicted = judge_dataset(model, ability, data, found.texts, found.rows).argmax(1)
    right = predicted == found.labels
    figures = classify(found.labels, predicted.astype(np.int64), names)
    figures |= {"accuracy_error": accuracy_error(right, data.groups[found.rows])}
    left_out = {"num_unknown": found.num_unknown, "num_unlabelled": found.num_unlabelled}
    figures |= {key: count for key, count in left_out.items() if count}
    notes = []
    learned = statements_of(context.train, names)
    majority = None
    if learned.texts:
        majority = most_frequent(learned.labels.tolist())
        of_text = text_only_predictions(learned.texts, learned.labels.tolist(), found.texts)
        figures["majority_accuracy"] = float((found.labels == majority).mean())
        figures["text_only_accuracy"] = float((found.labels == np.array(of_text)).mean())
    else:
        notes.append("there is no training part for the baselines of majority and text alone")
    try:
        others = with_other_images(data, rows_of_other_groups(data.groups))
    except ValueError as error:
        notes.append(str(error))
    else:
        shuffled = judge_dataset(model, ability, others, found.texts, found.rows).argmax(1)
        figures["shuffled_accuracy"] = float((shuffled == found.labels).mean())
    figures |= _consistency(found, right, majority)
    notes += _blindness(figures)
    return figures | ({"note": "; ".join(notes)} if notes else {})


def _blindness(figures: dict[str, Any]) -> list[str]:
    """A remark where the model is not better than without its images, by more than two standard errors."""
    without = {
        "text alone": figures.get("text_only_accuracy"),
        "the same model with other images": figures.get("shuffled_accuracy"),
    }
    known = {name: value for name, value in without.items() if value is not None}
    if not known or figures["accuracy"] > max(known.values()) + 2 * figures["accuracy_error"]:
        return []
    words = ", ".join(f"{name} {value:.1%}" for name, value in known.items())
    return [f"the images add nothing that shows: accuracy {figures['accuracy']:.1%}, {words}"]


def _consistency(found: Statements, right: NDArray[np.bool_], majority: int | None) -> dict[str, float]:
    """Of statements that are made of several images: how many are right with all (Suhr 2018, section 5)."""
    numbers = ids_of_texts(found.texts)
    counts = np.bincount(numbers)
    several = counts > 1
    if not several.any():
        return {}

    def all_right(each: NDArray[np.bool_]) -> float:
        return float((np.bincount(numbers, weights=each) == counts)[several].mean())

    figures = {"consistency": all_right(right), "num_statements": float(several.sum())}
    if majority is not None:
        figures["majority_consistency"] = all_right(found.labels == majority)
    return figures
