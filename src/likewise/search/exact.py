"""Exact search: every candidate is scored, in blocks of matrix products over the mapped vectors.

Dimensions: Q queries, N rows, D width of the vectors, k hits of a query.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

__all__ = ["Hits", "exact_search"]

_BLOCK_BYTES = 16 << 20  # of float32 vectors: more would leave the processor's cache before it is used again


class Hits(NamedTuple):
    """The best rows of each query, the best first; equal scores by row number.

    Attributes:
        rows: (Q, k) int64 row numbers.
        scores: (Q, k) float32 cosines.
    """

    rows: NDArray[np.int64]
    scores: NDArray[np.float32]


def exact_search(
    vectors: NDArray[np.floating], queries: NDArray[np.float32], *, top: int, rows: NDArray[np.int64] | None
) -> Hits:
    """Score all candidates and keep the best.

    Args:
        vectors: (N, D) float32 or float16, perhaps mapped from disk; of unit length.
        queries: (Q, D) float32 of unit length.
        top: k at most.
        rows: (M,) row numbers of the candidates, ascending; all when None.

    Returns:
        min(top, number of candidates) hits a query.
    """
    count = len(vectors) if rows is None else len(rows)
    k = min(top, count)
    best_rows = np.zeros((len(queries), 0), np.int64)
    best = np.zeros((len(queries), 0), np.float32)
    step = max(1, _BLOCK_BYTES // (4 * max(1, vectors.shape[1])))
    for start in range(0, count, step):
        numbers = np.arange(start, min(start + step, count)) if rows is None else rows[start : start + step]
        block = vectors[start : start + step] if rows is None else vectors[numbers]
        scores = queries @ np.asarray(block, np.float32).T  # (Q, b)
        kept_rows, kept = _best_of(numbers, scores, k)
        # Earlier rows stand first, so a stable sort puts equal scores in the order of their rows.
        best_rows, best = np.concatenate([best_rows, kept_rows], 1), np.concatenate([best, kept], 1)
        order = np.argsort(-best, axis=1, kind="stable")[:, :k]
        best_rows, best = np.take_along_axis(best_rows, order, 1), np.take_along_axis(best, order, 1)
    return Hits(best_rows, best)


def _best_of(
    numbers: NDArray[np.int64], scores: NDArray[np.float32], k: int
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """The k best columns of each row of (Q, b) scores, in the order of the columns; all of equal score to the
    last of them may not be among them, so the first ones are taken."""
    if scores.shape[1] <= k:
        return np.broadcast_to(numbers, scores.shape), scores
    places = np.empty((len(scores), k), np.int64)
    limits = np.partition(scores, scores.shape[1] - k, axis=1)[:, -k]
    for number, (row, limit) in enumerate(zip(scores, limits, strict=True)):
        above, equal = np.flatnonzero(row > limit), np.flatnonzero(row == limit)
        places[number] = np.sort(np.concatenate([above, equal[: k - len(above)]]))
    return numbers[places], np.take_along_axis(scores, places, 1)
