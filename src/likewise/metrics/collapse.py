"""Signs of collapse: do embeddings still differ, and in how many directions?

N items, D embedding width.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch

from likewise import objectives
from likewise.metrics.inputs import Array, as_matrix, as_unit_rows
from likewise.sampling import sampled_rows

__all__ = [
    "deviation",
    "effective_rank",
    "alignment",
    "uniformity",
    "signs_of_collapse",
    "collapse_warning",
    "SPREAD_BELOW",
    "RANK_SHARE_BELOW",
]

SPREAD_BELOW = 0.1
"""Collapse is suspected when the deviation is below this share of 1 / sqrt(D), that of an even spread."""

RANK_SHARE_BELOW = 0.025
"""Dimensional collapse is suspected when the effective rank is below this share of its maximum."""


def deviation(embeddings: Array) -> float:
    """Standard deviation of each dimension of the unit vectors over items, mean over dimensions.

    Near 1 / sqrt(D) for evenly spread directions, 0 when all items are equal.

    Args:
        embeddings: (N, D).

    Reference:
        Chen and He 2020 (SimSiam), 2011.10566, figure 2.
    """
    rows = as_unit_rows(embeddings, "embeddings").double()
    return float(rows.std(dim=0, correction=0).mean())


def effective_rank(matrix: Array) -> float:
    """Exponential of the entropy of the singular values' shares: the number of directions in use.

    Args:
        matrix: (N, D); neither centred nor scaled here.

    Returns:
        In [1, min(N, D)]; 0 for a matrix of zeros, for which the paper does not define it.

    Reference:
        Roy and Vetterli 2007, "The effective rank: a measure of effective dimensionality", definition 1.
    """
    rows = as_matrix(matrix, "matrix").double()
    # by the smaller Gram matrix in float64: cheap for large N
    gram = rows.T @ rows if rows.shape[0] >= rows.shape[1] else rows @ rows.T
    squares = torch.linalg.eigvalsh(gram).clamp(min=0.0)
    if not bool(squares.max() > 0):
        return 0.0
    # values below the rounding of the Gram matrix are noise, which sqrt would amplify
    squares = squares.where(squares > squares.max() * len(squares) * 2.3e-16, torch.zeros_like(squares))
    share = squares.sqrt() / squares.sqrt().sum()
    return float(torch.special.entr(share).sum().exp())


def alignment(first: Array, second: Array) -> float:
    """Mean squared distance of the unit vectors of positive pairs: 0 when equal, 2 when orthogonal.

    Args:
        first: (N, D).
        second: (N, D); row i is the positive of row i.

    Reference:
        Wang and Isola 2020, 2005.10242, section 4.1, with alpha = 2.
    """
    a, b = as_matrix(first, "first"), as_matrix(second, "second")
    if a.shape != b.shape:
        raise ValueError(f"pairs need equal shapes, got {tuple(a.shape)} and {tuple(b.shape)}")
    return float(objectives.alignment(a, b.to(a.device)))


def uniformity(embeddings: Array, *, max_rows: int | None = None) -> float:
    """Logarithm of the mean of exp(-2 |x - y|^2) over the unit vectors of all pairs of different items.

    0 when all items are equal, about -4 when spread evenly over a sphere of many dimensions.

    Args:
        embeddings: (N, D), N at least 2.
        max_rows: use only this many rows, a random sample, the same each time; time grows with their square.

    Reference:
        Wang and Isola 2020, 2005.10242, section 4.1, with t = 2.
    """
    rows = as_matrix(embeddings, "embeddings")
    if max_rows is not None and len(rows) > max_rows:
        rows = rows[torch.from_numpy(sampled_rows(len(rows), max_rows)).to(rows.device)]
    if len(rows) < 2:
        raise ValueError("uniformity needs two items or more")
    return float(objectives.uniformity(rows))


def signs_of_collapse(
    embeddings: Array, positives: Array | None = None, *, max_rows: int | None = 8192
) -> dict[str, float]:
    """All signs of one set of embeddings.

    Args:
        embeddings: (N, D), N at least 2.
        positives: (N, D), row i the positive of row i (a second view, the caption); adds `alignment`.
        max_rows: rows that `uniformity` uses.

    Returns:
        `deviation`; `relative_deviation` (times sqrt(D): 1 is an even spread, 0 is collapsed);
        `effective_rank` of the centred unit vectors, the number of directions in which items differ;
        `dimension`; `uniformity`; `num_items`; `alignment` with `positives`.

    Raises:
        ValueError: one item only, or a value that is not finite.
    """
    rows = as_unit_rows(embeddings, "embeddings")
    if len(rows) < 2:
        raise ValueError("signs of collapse need two items or more")
    spread = deviation(rows)
    centred = rows.double() - rows.double().mean(dim=0)
    # the rounding of equal float32 rows has a rank without meaning
    rank = effective_rank(centred) if spread > 1e-7 else 0.0
    signs = {
        "deviation": spread,
        "relative_deviation": spread * math.sqrt(rows.shape[1]),
        "effective_rank": rank,
        "dimension": float(rows.shape[1]),
        "uniformity": uniformity(rows, max_rows=max_rows),
        "num_items": float(len(rows)),
    }
    if positives is not None:
        signs["alignment"] = alignment(rows, positives)
    return signs


def collapse_warning(signs: Mapping[str, float], *, learnt_classes: bool = False) -> str | None:
    """A warning where `signs_of_collapse` show collapse, else None.

    Args:
        signs: result of `signs_of_collapse`; with `num_classes` where the items' classes are known.
        learnt_classes: the method learns from labels. All items of a class may then be equal, so C classes
            need no more than C - 1 directions.
    """
    if signs["relative_deviation"] < SPREAD_BELOW:
        return (
            f"The embeddings are nearly all the same: they vary {signs['relative_deviation']:.1%} as much as "
            "evenly spread ones would. The model is collapsing; try a lower learning rate, a longer warm-up, "
            "a larger batch, or check that the negatives or the stopped gradient are in place."
        )
    possible = min(signs["dimension"], signs["num_items"] - 1)
    if learnt_classes and "num_classes" in signs:
        possible = min(possible, signs["num_classes"] - 1)
    if signs["effective_rank"] < RANK_SHARE_BELOW * possible:
        return (
            f"The embeddings differ in about {signs['effective_rank']:.1f} directions of the {possible:.0f} "
            "they could use: dimensions are collapsing. Try stronger augmentation, a larger batch, "
            "or a lower learning rate."
        )
    return None
