"""Collapse: do embeddings still differ, and in how many directions?"""

from __future__ import annotations

from typing import Any

import numpy as np

from likewise.data import Splits
from likewise.data.columns import OPTIONAL, Needs
from likewise.evaluation.base import Figure, NoOptions, Task, class_counts, has_column, task
from likewise.evaluation.context import Context
from likewise.evaluation.spread import SPREAD_FIGURES
from likewise.metrics.collapse import alignment, signs_of_collapse

__all__ = ["Collapse"]


@task("collapse")
class Collapse(Task):
    """Spread, effective rank, uniformity, and alignment of images with their captions."""

    title = "Health of the embeddings"
    summary = "spread, effective rank, alignment, uniformity"
    needs = Needs("image", text=OPTIONAL, label=OPTIONAL)
    abilities = ("encode_images",)
    order = 90
    monitored = "always"
    figures = (
        *SPREAD_FIGURES,
        Figure("num_classes", "Classes", "count"),
        Figure("alignment", "Alignment", better="lower", curve=True),
    )

    def supports(self, splits: Splits) -> bool:
        """See `Task.supports`; one item alone has no spread."""
        return super().supports(splits) and len(splits.validation or ()) > 1

    def run(self, context: Context, options: NoOptions) -> dict[str, Any]:
        """See `Task.run`."""
        figures: dict[str, Any] = dict(signs_of_collapse(context.images))
        if has_column(context.validation, "label"):
            figures["num_classes"] = float(len(class_counts(context.validation)))
        if "encode_texts" in context.model.abilities and context.captions:
            rows, first = np.unique(context.caption_rows, return_index=True)  # each row's first caption
            figures["alignment"] = alignment(context.images[rows], context.texts[first])
        return figures
