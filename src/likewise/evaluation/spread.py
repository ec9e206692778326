"""The figures of `signs_of_collapse`, for tasks on images and on texts."""

from __future__ import annotations

from likewise.evaluation.base import Figure

__all__ = ["SPREAD_FIGURES"]

SPREAD_FIGURES = (
    Figure("deviation", "Deviation per dimension", better="higher", curve=True),
    Figure("relative_deviation", "Spread (1 is even, 0 collapsed)", better="higher", curve=True),
    Figure("effective_rank", "Effective rank", better="higher", curve=True),
    Figure("dimension", "Dimension"),
    Figure("uniformity", "Uniformity", better="lower", curve=True),
    Figure("num_items", "Items", "count"),
)
