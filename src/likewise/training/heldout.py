"""A look at the held-out part while training: cheap figures, and the signs of collapse."""

from __future__ import annotations

from typing import Any

from likewise.errors import DataError
from likewise.evaluation.context import Context
from likewise.evaluation.registry import default_tasks, evaluate, find_task
from likewise.metrics.collapse import collapse_warning

__all__ = ["look_at_held_out", "quick_tasks"]


def quick_tasks(embedded: Context) -> list[str]:
    """What is looked at while training, of what the model and the data allow."""
    fitting = default_tasks(embedded.model, embedded.splits)
    return [task for task in fitting if find_task(task).is_monitored(embedded.splits)]


def look_at_held_out(
    embedded: Context, *, learnt_classes: bool = False
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
