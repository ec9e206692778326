"""Signs of collapse in what the objective compares.

A projector can map all pictures to one point while the features before it still differ: the loss is then
perfect and training has stopped. So the newest batch's own embeddings are looked at too.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from likewise.methods.base import Embeddings
from likewise.metrics.collapse import SPREAD_BELOW, signs_of_collapse

__all__ = ["look_at_compared"]

# A BatchNorm at a projector's end holds up the spread of what has collapsed: it stretches the noise that is
# left, but in few directions. Without stopped gradient or predictor SimSiam had 1 to 3 of 15 after 240 steps
# on a batch of 16, and all methods as they are 5 or more, from their first step on. On another processor
# SimSiam as it is fell to 3.6 after 80 steps from one start of three.
_RANK_SHARE_BELOW, _MOST_POSSIBLE = 0.25, 16


def look_at_compared(
    embeddings: Embeddings, names: Sequence[str] | None = None
) -> tuple[dict[str, Any], str | None]:
    """How much the newest batch's embeddings differ in the objective's space.

    Args:
        embeddings: what `embed` returned; rows (B, D), B at least 2, are looked at. By `label` (B,), else by
            `group` (B,), as far as they are there, it is known how many different things they stand for.
        names: which of them; all when None.

    Returns:
        Figures, `relative_deviation` and `effective_rank` of each by name; and a plain warning when none of
        them differs from row to row, or all do in a few directions alone. (One may: a predictor that cannot
        predict says the mean.)
    """
    figures: dict[str, Any] = {}
    spreads, ranks, possible = [], [], []
    for name, rows in embeddings.items():
        if names is not None and name not in names:
            continue
        if not rows.is_floating_point() or rows.dim() != 2 or len(rows) < 2:
            continue
        # On the processor: float64, which not every device has, and singular values, at which it is quicker.
        signs = signs_of_collapse(rows.detach().cpu())
        spreads.append(signs["relative_deviation"])
        ranks.append(signs["effective_rank"])
        possible.append(min(rows.shape[1], _different_things(embeddings, len(rows)) - 1, _MOST_POSSIBLE))
        figures[f"{name}_relative_deviation"] = signs["relative_deviation"]
        figures[f"{name}_effective_rank"] = signs["effective_rank"]
    if not spreads:
        return figures, None
    if max(spreads) < SPREAD_BELOW:
        found = (
            "is nearly the same for all rows of the batch: it varies "
            f"{max(spreads):.1%} as much as evenly spread rows would"
        )
    elif max(ranks) < _RANK_SHARE_BELOW * min(possible):
        found = (
            f"differs from row to row in {max(ranks):.1f} directions or so of the {min(possible)} it could"
        )
    else:
        return figures, None
    return figures, (
        f"What the objective compares {found}. Training is collapsing; try a lower learning rate, a longer "
        "warm-up, a larger batch, or check negatives, predictor and stopped gradient."
    )


def _different_things(embeddings: Embeddings, count: int) -> int:
    """Classes of the rows, or groups, or the rows themselves."""
    for name in ("label", "group"):
        if name in embeddings and len(embeddings[name]) == count:
            return len(torch.unique(embeddings[name]))
    return count
