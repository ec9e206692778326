"""Linear probe: what can a linear classifier read from frozen embeddings?"""

from __future__ import annotations

from typing import Any

from likewise.data import Splits
from likewise.data.columns import Needs
from likewise.evaluation.base import Figure, NoOptions, Task, task
from likewise.evaluation.classes import (
    CLASSIFICATION_EXTRAS,
    class_counts,
    classification_figures,
    classify,
    known_labels,
    share_classes,
    training_labels,
)
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
        return share_classes(splits) and len(counts) >= 2 and bool((counts >= 2).any())

    def run(self, context: Context, options: NoOptions) -> dict[str, Any]:
        """See `Task.run`."""
        train_labels, labels = training_labels(context), known_labels(context.validation)
        known, train_known = labels >= 0, train_labels >= 0
        result = linear_probe(
            context.train_images[train_known], train_labels[train_known], context.images[known], labels[known]
        )
        figures = classify(labels[known], result.predictions, context.train.label_names)
        return figures | {"l2": result.l2, "converged": result.converged, "num_train": result.num_train}
