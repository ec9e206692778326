"""Linear probe: what can a linear classifier read from frozen embeddings?"""

from __future__ import annotations

from typing import Any

from likewise.data import Splits
from likewise.data.columns import Needs
from likewise.evaluation.base import Figure, NoOptions, Task, class_counts, task
from likewise.evaluation.classes import CLASSIFICATION_EXTRAS, classification_figures, classify
from likewise.evaluation.context import Context
from likewise.metrics.linear_probe import linear_probe

__all__ = ["Probe"]


@task("probe")
class Probe(Task):
    """Logistic regression on the training part's embeddings."""

    title = "Linear probe"
    summary = "classes by a linear classifier on frozen features"
    needs = Needs("image", "label")
    abilities = ("encode_images",)
    learns = True
    slow = True  # it can take as long as training a small model
    order = 21
    figures = (
        *classification_figures("Linear probe accuracy"),
        Figure("l2", "Regularisation chosen"),
        Figure("num_train", "Training rows", "count"),
    )
    extras = (*CLASSIFICATION_EXTRAS, "converged")

    def supports(self, splits: Splits) -> bool:
        """See `Task.supports`; two classes to tell apart, one with a row to choose the regularisation by."""
        counts = class_counts(splits.train)
        return super().supports(splits) and len(counts) >= 2 and bool((counts >= 2).any())

    def run(self, context: Context, options: NoOptions) -> dict[str, Any]:
        """See `Task.run`."""
        result = linear_probe(context.train_images, context.train_labels, context.images, context.labels)
        figures = classify(context.labels, result.predictions, context.train.label_names)
        return figures | {"l2": result.l2, "converged": result.converged, "num_train": result.num_train}
