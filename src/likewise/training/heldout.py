"""A look at the held-out part while training: cheap figures, and the signs of collapse."""

from __future__ import annotations

from likewise.data import Splits
from likewise.evaluation.collapse import collapse_warning
from likewise.evaluation.tasks import Embedded, default_tasks, evaluate
from likewise.model import Model

__all__ = ["look_at_held_out"]

# The probe trains a classifier: too slow to look at often. Zero-shot's prompts are cheap but say little
# early on.
_QUICK = ("retrieval", "neighbours", "collapse")
_SHOWN = ("_r1", "_r5", "_r10", "accuracy", "deviation", "effective_rank", "alignment", "uniformity")


def look_at_held_out(model: Model, splits: Splits, max_rows: int) -> tuple[dict[str, float], str | None]:
    """Figures on at most `max_rows` held-out rows.

    Args:
        model: the network in training.
        splits: the data; without a held-out part nothing is looked at.
        max_rows: most held-out rows, and a fifth of the training rows that neighbours learn from.

    Returns:
        Figures named task/metric, and a plain warning when the embeddings collapse.
    """
    if splits.validation is None:
        return {}, None
    embedded = Embedded(model, splits, max_rows=max_rows, max_train_rows=5 * max_rows)
    values: dict[str, float] = {}
    warning = None
    for task in default_tasks(model, splits):
        if task not in _QUICK:
            continue
        figures = evaluate(embedded, task)
        values |= {
            f"{task}/{name}": figures[name]
            for name in figures
            if name.endswith(_SHOWN) and "chance" not in name
        }
        if task == "collapse":
            warning = collapse_warning(figures)
    return values, warning
