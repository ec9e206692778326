"""Clustering: does k-means find the classes?"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from likewise.data.columns import Needs
from likewise.evaluation.base import Figure, NoOptions, Task, task
from likewise.evaluation.context import Context
from likewise.metrics.clustering import clustering

__all__ = ["Clustering"]

# More items change the figures little and cost time.
_MAX_ITEMS = 10_000
# A class keeps this many items, or an even share of the limit where that is more.
_MIN_ITEMS_OF_CLASS = 100


@task("clustering")
class Clustering(Task):
    """Agreement of k-means with the classes, on at most 10,000 items of randomly drawn classes."""

    title = "Clustering by k-means"
    summary = "whether k-means finds the classes"
    needs = Needs("image", "label")
    abilities = ("encode_images",)
    order = 33
    least_classes = (2, 1)
    figures = (
        Figure("nmi", "Normalised mutual information", "share", "higher", "chance_nmi"),
        Figure("ari", "Adjusted Rand index", "share", "higher", "chance_ari"),
        Figure("num_clusters", "Clusters", "count"),
        Figure("num_items", "Items", "count"),
    )

    def run(self, context: Context, options: NoOptions) -> dict[str, Any]:
        """See `Task.run`."""
        rows = draw_classes(context.labels, _MAX_ITEMS)
        return dict(clustering(context.images[rows], context.labels[rows]))


def draw_classes(labels: NDArray[np.int64], limit: int) -> NDArray[np.int64]:
    """Rows of whole classes, at most `limit`: rows drawn from all classes would be alone in theirs.

    Classes are drawn (always the same ones) as long as the next one fits. The first has two items where any
    has, as clustering needs.

    Args:
        labels: (N,) classes, -1 where unknown.
        limit: 200 or more, so that two classes fit.

    Returns:
        Rows in ascending order; all labelled rows where they are no more than `limit`.
    """
    known = np.flatnonzero(labels >= 0)
    if len(known) <= limit:
        return known
    generator = np.random.default_rng(0)
    mixed = generator.permutation(known)
    classes, class_of, counts = np.unique(labels[mixed], return_inverse=True, return_counts=True)
    most = max(_MIN_ITEMS_OF_CLASS, limit // len(classes))
    by_class = np.split(np.argsort(class_of, kind="stable"), np.cumsum(counts)[:-1])
    order = generator.permutation(len(classes))
    first = int((counts[order] > 1).argmax())
    order = np.append(order[first], np.delete(order, first))
    taken = order[np.cumsum(np.minimum(counts, most)[order]) <= limit]
    return np.sort(np.concatenate([mixed[by_class[number][:most]] for number in taken]))
