"""A look at the held-out part while training: cheap figures, and the signs of collapse."""

from __future__ import annotations

from typing import Any

from likewise.errors import DataError
from likewise.evaluation.tasks import Embedded, default_tasks, evaluate
from likewise.metrics.collapse import collapse_warning

__all__ = ["look_at_held_out", "quick_tasks"]

# The probe trains a classifier: too slow to look at often. Zero-shot's prompts say little early on.
_QUICK = ("retrieval", "neighbours", "collapse")
# Where no class of the held-out part is known from training, so that neighbours cannot vote.
_UNKNOWN_CLASSES = ("few-shot", "ranking")


def quick_tasks(embedded: Embedded) -> list[str]:
    """What is looked at while training, of what the model and the data allow."""
    fitting = default_tasks(embedded.model, embedded.splits)
    quick = _QUICK if "neighbours" in fitting else _QUICK + _UNKNOWN_CLASSES
    return [task for task in fitting if task in quick]


def look_at_held_out(
    embedded: Embedded, *, learnt_classes: bool = False
) -> tuple[dict[str, dict[str, Any]], str | None]:
    """The figures of the quick tasks.

    Args:
        embedded: held-out rows, perhaps only some of them.
        learnt_classes: the method learns from labels, see `collapse_warning`.

    Returns:
        Figures by task, and a plain warning when the embeddings collapse.
    """
    figures, warning = {}, None
    for task in quick_tasks(embedded):
        try:
            figures[task] = evaluate(embedded, task)
        except DataError as error:  # training goes on all the same
            warning = f"{task} could not be measured: {error}"
    if "collapse" in figures:
        warning = collapse_warning(figures["collapse"], learnt_classes=learnt_classes) or warning
    return figures, warning
