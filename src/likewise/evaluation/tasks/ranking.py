"""Ranking: do images of the query's class come first?"""

from __future__ import annotations

from typing import Any

from likewise.data.columns import OPTIONAL, Needs
from likewise.evaluation.base import Figure, NoOptions, Task, task
from likewise.evaluation.classes import measure_domains, within_domain_figures
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
    monitored = "new classes"
    least_classes = (2, 1)
    figures = (*_MEASURED, Figure("num_items", "Items", "count"), *within_domain_figures(*_MEASURED))

    def run(self, context: Context, options: NoOptions) -> dict[str, Any]:
        """See `Task.run`."""
        return measure_domains(
            lambda domains: ranking(context.images, context.labels, within=domains, max_queries=_MAX_QUERIES),
            context.validation,
            _MEASURED,
        )
