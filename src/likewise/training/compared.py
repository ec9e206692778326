"""Signs of collapse in what the objective compares.

A projector can map all pictures to one point while the features before it still differ: the loss is then
perfect and training has stopped. So the newest batch's own embeddings are looked at too.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from likewise.evaluation.collapse import SPREAD_BELOW, signs_of_collapse
from likewise.methods.method import Embeddings

__all__ = ["look_at_compared"]


def look_at_compared(
    embeddings: Embeddings, names: Sequence[str] | None = None
) -> tuple[dict[str, Any], str | None]:
    """How much the newest batch's embeddings differ in the objective's space.

    Args:
        embeddings: what `embed` returned; rows (B, D), B at least 2, are looked at.
        names: which of them; all when None.

    Returns:
        Figures, `relative_deviation` and `effective_rank` of each by name; and a plain warning when none of
        them differs from row to row. (One alone may: a predictor that cannot predict says the mean.)
    """
    figures: dict[str, Any] = {}
    spreads = []
    for name, rows in embeddings.items():
        if names is not None and name not in names:
            continue
        if not rows.is_floating_point() or rows.dim() != 2 or len(rows) < 2:
            continue
        # On the processor: float64, which not every device has, and singular values, at which it is quicker.
        signs = signs_of_collapse(rows.detach().cpu())
        spreads.append(signs["relative_deviation"])
        figures[f"{name}_relative_deviation"] = signs["relative_deviation"]
        figures[f"{name}_effective_rank"] = signs["effective_rank"]
    if not spreads or max(spreads) >= SPREAD_BELOW:
        return figures, None
    return figures, (
        "What the objective compares is nearly the same for all rows of the batch: it varies "
        f"{max(spreads):.1%} as much as evenly spread rows would. Training is collapsing; try a lower "
        "learning rate, a longer warm-up, a larger batch, or check negatives, predictor and stopped gradient."
    )
