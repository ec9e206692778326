"""Figures of the validation split while training, and signs of collapse.

A projector can map all images to one point while the features before it still differ. The loss is then
perfect and training has stopped. So the embeddings that the objective compared are checked too.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from likewise.errors import DataError
from likewise.evaluation.context import Context
from likewise.evaluation.registry import evaluate, monitored_tasks
from likewise.methods.base import Embeddings
from likewise.metrics.collapse import SPREAD_BELOW, collapse_warning, signs_of_collapse

__all__ = ["embedding_figures", "validation_figures"]

# A BatchNorm at the end of a projector keeps up the spread of collapsed embeddings: it amplifies the
# remaining noise, but in few directions. Without stop-gradient or predictor SimSiam had 1 to 3 of 15 after
# 240 steps on a batch of 16, and all intact methods 5 or more from their first step on. On another processor
# intact SimSiam fell to 3.6 after 80 steps from one start of three.
_RANK_SHARE_BELOW, _MAX_DIRECTIONS = 0.25, 16


def validation_figures(
    context: Context, *, learnt_classes: bool = False
) -> tuple[dict[str, dict[str, Any]], str | None]:
    """Figures of the monitored tasks.

    Args:
        context: validation rows, perhaps only some of them.
        learnt_classes: the method learns from labels, see `collapse_warning`.

    Returns:
        Figures by task, and a warning if the embeddings collapse.
    """
    figures, warning = {}, None
    for task in monitored_tasks(context.model, context.splits):
        try:
            figures[task] = evaluate(context, task)
        except DataError as error:  # training goes on
            warning = f"{task} could not be measured: {error}"
    for task in ("collapse", "text-collapse"):
        if task in figures:
            warning = collapse_warning(figures[task], learnt_classes=learnt_classes) or warning
    return figures, warning


def embedding_figures(
    embeddings: Embeddings, names: Sequence[str] | None = None
) -> tuple[dict[str, float], str | None]:
    """How much the newest batch's embeddings differ in the objective's space.

    Args:
        embeddings: from `embed`. Tensors (B, D) with B at least 2 are checked. `label` (B,), else `group`
            (B,), tells how many different things the rows stand for.
        names: which to check; all if None.

    Returns:
        `relative_deviation` and `effective_rank` of each by name, and a warning if none of them differs from
        row to row, or all differ in few directions only. (One may: a predictor that cannot predict returns
        the mean.)
    """
    figures: dict[str, float] = {}
    spreads, ranks, limits = [], [], []
    for name, rows in embeddings.items():
        if names is not None and name not in names:
            continue
        if not rows.is_floating_point() or rows.dim() != 2 or len(rows) < 2:
            continue
        # On the CPU: it has float64, and singular values are faster there.
        signs = signs_of_collapse(rows.detach().cpu())
        spreads.append(signs["relative_deviation"])
        ranks.append(signs["effective_rank"])
        limits.append(min(rows.shape[1], _num_distinct(embeddings, len(rows)) - 1, _MAX_DIRECTIONS))
        figures[f"{name}_relative_deviation"] = signs["relative_deviation"]
        figures[f"{name}_effective_rank"] = signs["effective_rank"]
    if not spreads:
        return figures, None
    if max(spreads) < SPREAD_BELOW:
        symptom = f"are nearly equal for all rows of the batch: {max(spreads):.1%} of an even spread"
    elif max(ranks) < _RANK_SHARE_BELOW * min(limits):
        symptom = f"vary in about {max(ranks):.1f} of {min(limits)} possible directions"
    else:
        return figures, None
    return figures, (
        f"The embeddings in the loss {symptom}. Training is collapsing; try a lower learning rate, a longer "
        "warm-up or a larger batch, or check negatives, predictor and stop-gradient."
    )


def _num_distinct(embeddings: Embeddings, count: int) -> int:
    """Number of classes of the rows, else of groups, else of rows."""
    for name in ("label", "group"):
        if name in embeddings and len(embeddings[name]) == count:
            return len(torch.unique(embeddings[name]))
    return count
