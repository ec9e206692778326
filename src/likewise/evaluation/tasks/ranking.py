"""Ranking: do images of the query's class come first?"""

from __future__ import annotations

from typing import Any

from likewise.data import Splits
from likewise.data.columns import OPTIONAL, Needs
from likewise.evaluation.base import Figure, NoOptions, Task, task
from likewise.evaluation.classes import (
    across_and_within,
    class_counts,
    known_labels,
    share_classes,
    within_domain,
    within_domain_figures,
)
from likewise.evaluation.context import Context
from likewise.metrics.ranking import ranking

__all__ = ["Ranking"]

# More queries change a mean little and cost time.
_MAX_QUERIES = 5_000

_MEASURED = (
    Figure("map_at_r", "MAP@R", "share", "higher", "chance_map_at_r", curve=True),
    Figure(
        "r_precision",
        "R-precision",
        "share",
        "higher",
        "chance_r_precision",
        headline="R-precision",
        curve=True,
    ),
    Figure("precision_at_1", "Precision at 1", "share", "higher", "chance_precision_at_1"),
)


@task("ranking")
class Ranking(Task):
    """MAP@R, R-precision and precision at 1."""

    title = "Ranking by class"
    summary = "how purely an image's own class comes first"
    needs = Needs("image", "label", domain=OPTIONAL)
    abilities = ("encode_images",)
    order = 32
    figures = (*_MEASURED, Figure("num_items", "Items", "count"), *within_domain_figures(*_MEASURED))

    def supports(self, splits: Splits) -> bool:
        """See `Task.supports`; two classes, one with two items."""
        counts = class_counts(splits.validation)
        return len(counts) >= 2 and bool((counts >= 2).any())

    def is_monitored(self, splits: Splits) -> bool:
        """Where neighbours cannot vote, because training has none of the classes."""
        return not share_classes(splits)

    def run(self, context: Context, options: NoOptions) -> dict[str, Any]:
        """See `Task.run`."""
        labels = known_labels(context.validation)
        across, inside = across_and_within(
            lambda domains: ranking(context.images, labels, within=domains, max_queries=_MAX_QUERIES),
            context.validation,
        )
        return across | within_domain(inside, _MEASURED)
