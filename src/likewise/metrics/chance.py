"""Chance levels: what a model without knowledge would score."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from likewise.metrics.inputs import Array

__all__ = ["accuracy_chance", "first_hit_chance"]


def accuracy_chance(labels: Array, *, top: int = 1) -> float:
    """Accuracy of always answering the most frequent class: its share in [0, 1], at least 1 / C.

    Args:
        labels: (N,) integers; negative ones (unknown) are left out.
        top: share of this many most frequent classes together, for top-k accuracy.

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
    """Expected recall, median rank and mean reciprocal rank of a random order, in closed form.

    With m candidates, r of them right, none of the first k is right with probability C(m-r, k) / C(m, k).

    Args:
        num_right: right candidates of each query, each in [1, num_candidates].
        num_candidates: m.
        at: the k of each recall.

    Returns:
        `r{k}` for each k, `median_rank`, `mean_reciprocal_rank`, over all queries.

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
