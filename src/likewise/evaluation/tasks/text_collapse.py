"""Collapse of text embeddings: do they still differ, and in how many directions?"""

from __future__ import annotations

from typing import Any

from likewise.data import Splits
from likewise.data.columns import Needs
from likewise.evaluation.base import NoOptions, Task, has_column, task
from likewise.evaluation.context import Context
from likewise.evaluation.spread import SPREAD_FIGURES
from likewise.metrics.collapse import signs_of_collapse

__all__ = ["TextCollapse"]


@task("text-collapse")
class TextCollapse(Task):
    """Spread, effective rank and uniformity of texts, where there are no images."""

    title = "Health of the text embeddings"
    summary = "spread, effective rank, uniformity of texts"
    needs = Needs("text")
    abilities = ("encode_texts",)
    order = 91
    monitored = "always"
    figures = SPREAD_FIGURES

    def supports(self, splits: Splits) -> bool:
        """See `Task.supports`; one text alone has no spread."""
        data = splits.validation
        if data is None or has_column(data, "image") or not super().supports(splits):
            return False
        return sum(map(len, data.texts or ())) > 1

    def run(self, context: Context, options: NoOptions) -> dict[str, Any]:
        """See `Task.run`."""
        return dict(signs_of_collapse(context.texts))
