"""Nearest neighbours: does a vote of the nearest training images name the class?"""

from __future__ import annotations

from typing import Any

import numpy as np

from likewise.data.columns import Needs
from likewise.evaluation.base import Figure, NoOptions, Task, task
from likewise.evaluation.classes import CLASSIFICATION_EXTRAS, classification_figures, classify
from likewise.evaluation.context import Context
from likewise.metrics.neighbours import knn_predict

__all__ = ["Neighbours"]

_K = 20


@task("neighbours")
class Neighbours(Task):
    """Classification by the weighted vote of the nearest training images."""

    title = "Nearest neighbours"
    summary = f"classes by the {_K} nearest training images"
    needs = Needs("image", "label")
    abilities = ("encode_images",)
    learns = True
    order = 20
    monitored = "always"
    figures = (
        *classification_figures("Neighbour accuracy"),
        Figure("k", "Neighbours that vote"),
        Figure("num_train", "Training rows", "count"),
    )
    extras = CLASSIFICATION_EXTRAS

    def run(self, context: Context, options: NoOptions) -> dict[str, Any]:
        """See `Task.run`."""
        names, train_labels = context.train.label_names, context.train_labels
        predictions = knn_predict(
            context.train_images, train_labels, context.images, k=_K, num_classes=len(names or ()) or None
        )
        figures = classify(context.labels, np.asarray(predictions), names)
        return figures | {"k": _K, "num_train": int((train_labels >= 0).sum())}
