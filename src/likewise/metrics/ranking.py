"""Ranking by class: each item is a query, the others are ordered by cosine.

N items, Q queries, D embedding width, R other items of the query's class.
"""

from __future__ import annotations

import torch

from likewise.metrics.inputs import Array, as_labels, as_unit_rows, rows_per_tile
from likewise.metrics.retrieval import tie_margin
from likewise.sampling import sampled_rows

__all__ = ["ranking"]

_NAMES = ("map_at_r", "r_precision", "precision_at_1")


def ranking(
    embeddings: Array,
    labels: Array,
    *,
    within: Array | None = None,
    max_queries: int | None = None,
) -> dict[str, float]:
    """How purely items of the query's class come first among all other items.

    Ties count against the model: an item of another class whose cosine is within rounding (1e-6 in float32)
    goes first. So a collapsed model scores 0.

    Args:
        embeddings: (N, D); scaled to unit length here.
        labels: (N,) integers; items with a negative label (unknown) are left out. An item alone in its
            class is a candidate, but no query.
        within: (N,) domains; a query's candidates are of its own domain. Items below 0 are left out, and so
            are domains of one class, where any order is right.
        max_queries: use only this many queries, a random sample; all of them when None.

    Returns:
        Means over queries, in [0, 1]: `map_at_r` (mean over the first R ranks of the precision there, 0 at an
        item of another class), `r_precision` (share of the first R that are of the class), `precision_at_1`;
        the same keys behind `chance_` for a random order; `num_items`, the number of queries.

    Raises:
        ValueError: fewer than two classes (in each domain), or no two items of one; values that are not
            finite; shapes that don't fit.

    Reference:
        Musgrave, Belongie and Lim 2020, 2003.08505, section 4.2.
    """
    rows = as_unit_rows(embeddings, "embeddings")
    classes = as_labels(labels, "labels", count=len(rows), device=rows.device)
    domains = torch.zeros_like(classes)
    if within is not None:
        domains = as_labels(within, "within", count=len(rows), device=rows.device)
    known = (classes >= 0) & (domains >= 0)
    parts = [(known & (domains == domain)).nonzero()[:, 0] for domain in sorted(set(domains[known].tolist()))]
    num_known = int(known.sum())
    parts = [part for part in parts if bool((classes[part] != classes[part][0]).any())]
    if num_known and not parts:
        where = "" if within is None else " of each domain"
        raise ValueError(
            f"labels: all of the {num_known} labelled items{where} are of one class, so any order is right"
        )
    found, chances = [], []
    for part in parts:
        own = torch.unique(classes[part], return_inverse=True)[1]
        num_right = own.bincount()[own] - 1  # (n,) R of each
        queries = (num_right > 0).nonzero()[:, 0]
        if max_queries is not None and num_known > max_queries:
            count = min(len(queries), max(1, round(max_queries * len(part) / num_known)))
            queries = queries[torch.from_numpy(sampled_rows(len(queries), count))]
        if len(queries):
            found.append(_by_query(rows[part], own, num_right, queries))
            chances.append(_chance(num_right[queries], len(part)))
    if not found:
        raise ValueError(f"labels: no two of {num_known} labelled items are of one class")
    means = torch.cat(found).mean(dim=0).tolist()
    chance = torch.cat(chances).mean(dim=0).tolist()
    figures = dict(zip(_NAMES, means, strict=True))
    figures |= {f"chance_{name}": value for name, value in zip(_NAMES, chance, strict=True)}
    return figures | {"num_items": sum(len(part) for part in found)}


def _by_query(
    rows: torch.Tensor, classes: torch.Tensor, num_right: torch.Tensor, queries: torch.Tensor
) -> torch.Tensor:
    """(Q, 3) float64: average precision at R, R-precision and precision at 1 of each query.

    Args:
        rows: (N, D) unit rows.
        classes: (N,).
        num_right: (N,) R of each.
        queries: (Q,) rows of the queries.
    """
    tiles = []
    step = rows_per_tile(len(rows))
    for start in range(0, len(queries), step):
        tile = queries[start : start + step]
        similarity = rows[tile] @ rows.T  # (q, N)
        right = classes[tile, None] == classes  # (q, N)
        similarity += tie_margin(similarity.dtype) * ~right
        similarity[torch.arange(len(tile), device=rows.device), tile] = -torch.inf
        wanted = num_right[tile, None]  # (q, 1)
        depth = int(wanted.max())
        first = right.gather(1, similarity.topk(depth, dim=1).indices)  # (q, depth), best first
        place = torch.arange(1, depth + 1, device=rows.device)
        hits = (first & (place <= wanted)).double()  # (q, depth), only the first R of each
        precision = hits.cumsum(dim=1) / place
        average = (precision * hits).sum(dim=1, keepdim=True) / wanted
        tiles.append(torch.cat([average, hits.sum(dim=1, keepdim=True) / wanted, hits[:, :1]], dim=1))
    return torch.cat(tiles)


def _chance(num_right: torch.Tensor, num_items: int) -> torch.Tensor:
    """(Q, 3) float64: expectation for a random order.

    A rank holds an item of the class with probability p = R / (n - 1), and then each rank before it with
    q = (R - 1) / (n - 2); so the expected average precision at R is the mean over i of p (1 + (i - 1) q) / i.

    Args:
        num_right: (Q,) R of each, from 1.
        num_items: n, the query among them.
    """
    right = num_right.double()
    place = right / (num_items - 1)
    before = (right - 1) / max(1, num_items - 2)
    harmonic = (1 / torch.arange(1, int(num_right.max()) + 1, device=right.device).double()).cumsum(dim=0)
    harmonic = harmonic[num_right - 1]  # (Q,) sum of 1 / i for i from 1 to R
    average = place * (harmonic + before * (right - harmonic)) / right
    return torch.stack([average, place, place], dim=1)
