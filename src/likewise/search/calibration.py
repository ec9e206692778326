"""What a score means for this model: its percentile among random pairs of queries and rows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

__all__ = ["TAIL", "RandomTexts", "best_of_random", "percentiles", "quantiles_of", "random_scores"]

_NUM_QUERIES, _NUM_ROWS = 512, 2048

# Dense towards the top: the best of many rows lies far in the tail.
TAIL = np.concatenate([np.arange(0, 0.99, 0.01), 1 - np.logspace(-2, -5, 31)])
"""The probabilities of the quantiles that are kept."""


class RandomTexts(NamedTuple):
    """Texts that random queries are drawn from.

    Attributes:
        vectors: (M, D) float32 of unit length.
        rows: (M,) int64, the row that each one describes; -1 where it describes none.
    """

    vectors: NDArray[np.float32]
    rows: NDArray[np.int64]


def random_scores(
    texts: RandomTexts,
    rows: NDArray[np.floating],
    kinds: Sequence[str],
    weights: Sequence[float],
    *,
    seed: int = 0,
) -> NDArray[np.float32]:
    """Cosines of rows with random queries of the same form: texts and images drawn at random, with the same
    weights.

    Args:
        texts: to draw from.
        rows: (N, D) vectors of the index.
        kinds: "text" or "image" for each term of a query.
        weights: of the terms.
        seed: of the draws.

    Returns:
        (P,) float32, none where there is nothing to draw from.
    """
    draws = np.random.default_rng(seed)
    if len(rows) < 2 or ("text" in kinds and not len(texts.vectors)):
        return np.zeros(0, np.float32)
    queries = np.zeros((_NUM_QUERIES, rows.shape[1]), np.float64)
    own = []
    for kind, weight in zip(kinds, weights, strict=True):
        drawn = draws.integers(0, len(texts.vectors if kind == "text" else rows), _NUM_QUERIES)
        queries += weight * np.asarray((texts.vectors if kind == "text" else rows)[drawn], np.float64)
        own.append(texts.rows[drawn] if kind == "text" else drawn)
    lengths = np.linalg.norm(queries, axis=1)
    queries = (queries / np.maximum(lengths, 1e-12)[:, None]).astype(np.float32)
    others = np.sort(draws.choice(len(rows), min(_NUM_ROWS, len(rows)), replace=False))
    scores = queries @ np.asarray(rows[others], np.float32).T  # (Q, R)
    is_random = np.repeat(lengths[:, None] > 1e-9, len(others), axis=1)  # (Q, R)
    for drawn in own:  # neither an image and itself nor an image and its caption are a random pair
        is_random &= drawn[:, None] != others[None, :]
    random: NDArray[np.float32] = np.sort(scores[is_random])
    return random


def quantiles_of(scores: NDArray[np.float32]) -> list[float] | None:
    """The quantiles of sorted random scores at `TAIL`; None without scores."""
    return [round(float(value), 6) for value in np.quantile(scores, TAIL)] if len(scores) else None


def percentiles(scores: NDArray[np.float32], quantiles: Sequence[float] | None) -> NDArray[np.float32]:
    """Per cent of random pairs that score lower, NaN without a calibration; at most 99.999."""
    if quantiles is None:
        return np.full(np.shape(scores), np.nan, np.float32)
    return np.asarray(100 * np.interp(scores, quantiles, TAIL), np.float32)


def best_of_random(count: int, quantiles: Sequence[float] | None) -> float:
    """The score that the best of so many random pairs reaches; -1 without a calibration."""
    if quantiles is None:
        return -1.0
    return float(np.interp(1 - 1 / max(count, 1), TAIL, quantiles))
