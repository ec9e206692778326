"""Verification: are two images of the same class?"""

from __future__ import annotations

from typing import Any

from likewise.data.columns import OPTIONAL, Needs
from likewise.evaluation.base import Figure, NoOptions, Task, task
from likewise.evaluation.classes import measure_domains, within_domain_figures
from likewise.evaluation.context import Context
from likewise.metrics.verification import verification

__all__ = ["Verification"]

_MEASURED = (
    Figure("accuracy", "Accuracy", "share", "higher", "chance_accuracy"),
    Figure("roc_auc", "Area under the ROC curve", "share", "higher", "chance_roc_auc"),
    Figure("equal_error_rate", "Equal error rate", "share", "lower", "chance_equal_error_rate"),
)


@task("verification")
class Verification(Task):
    """Same class or not, by a threshold on the cosine that is chosen on other classes."""

    title = "Same class or not"
    summary = "whether two images are of one class"
    needs = Needs("image", "label", domain=OPTIONAL)
    abilities = ("encode_images",)
    order = 31
    least_classes = (4, 2)
    figures = (
        *_MEASURED,
        Figure("threshold", "Threshold (cosine)"),
        Figure("num_pairs", "Pairs", "count"),
        Figure("num_classes", "Classes", "count"),
        *within_domain_figures(*_MEASURED),
    )
    extras = ("roc",)

    def run(self, context: Context, options: NoOptions) -> dict[str, Any]:
        """See `Task.run`."""
        return measure_domains(
            lambda domains: verification(context.images, context.labels, within=domains),
            context.validation,
            _MEASURED,
        )
