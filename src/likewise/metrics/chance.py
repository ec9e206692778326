"""What a model that knows nothing would score, so that no figure stands alone."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from likewise.metrics.inputs import Array

__all__ = ["accuracy_chance", "first_hit_chance"]


def accuracy_chance(labels: Array, *, top: int = 1) -> float:
    """Share in [0, 1] of the commonest class: the accuracy of always answering it.

    At least 1 / C, and equal to it when the classes are equally large.

    Args:
        labels: (N,) integers; negative ones (none known) are left out.
        top: of so many commonest classes together, for answers that name several.

    Raises:
        ValueError: no row has a label.
    """
    known = np.asarray(labels)
    known = known[known >= 0]
    if known.size == 0:
        raise ValueError("labels: no row has a label")
    counts = np.sort(np.unique(known, return_counts=True)[1])
    return float(counts[-top:].sum() / known.size)


def first_hit_chance(num_right: Sequence[int], num_candidates: int, at: Sequence[int]) -> dict[str, float]:
    """Recall, median rank and mean reciprocal rank of candidates in an order drawn by lot, in closed form.

    With m candidates, r of them right, none of the first k is right with probability C(m-r, k) / C(m, k).

    Args:
        num_right: right candidates of each query, each in [1, num_candidates].
        num_candidates: how many there are.
        at: the k of each recall.

    Returns:
        `r{k}` for each k, `median_rank`, `mean_reciprocal_rank`, over the queries.

    Raises:
        ValueError: no query, or a count outside its range.
    """
    if len(num_right) == 0 or min(num_right) < 1 or max(num_right) > num_candidates:
        raise ValueError(f"each query needs 1 to {num_candidates} right candidates")
    ranks = np.arange(1, num_candidates + 1)
    hit = np.zeros(num_candidates)
    for right, queries in Counter(num_right).items():
        hit += queries / len(num_right) * _hit_by_rank(right, num_candidates)
    first = np.diff(hit, prepend=0.0)  # probability that the first right one has this rank
    recalls = {f"r{k}": float(hit[min(k, num_candidates) - 1]) for k in at}
    median = float(ranks[np.searchsorted(hit, 0.5 - 1e-12)])
    return recalls | {"median_rank": median, "mean_reciprocal_rank": float((first / ranks).sum())}


def _hit_by_rank(right: int, num_candidates: int) -> NDArray[np.float64]:
    """(m,) probability that one of the first k candidates is right, for k from 1 to m."""
    before = np.arange(num_candidates, dtype=np.float64)
    # the next one is wrong with probability (m - r - k) / (m - k) when the k before it were wrong
    wrong = np.maximum(num_candidates - right - before, 0.0) / (num_candidates - before)
    return np.asarray(1.0 - np.cumprod(wrong), dtype=np.float64)
