"""Ranking by class: each item asks, the others are ordered by cosine.

N items, Q queries, D width of the embedding, R other items of the query's class.
"""

from __future__ import annotations

import numpy as np
import torch

from likewise.metrics.inputs import Array, as_labels, as_unit_rows, rows_per_tile
from likewise.metrics.retrieval import TIE

__all__ = ["ranking"]

_NAMES = ("map_at_r", "r_precision", "precision_at_1")


def ranking(
    embeddings: Array,
    labels: Array,
    *,
    within: Array | None = None,
    max_queries: int | None = None,
    tile_rows: int | None = None,
) -> dict[str, float]:
    """How purely items of its own class come first when an item asks among all others.

    Ties count against the model: an item of another class whose cosine is within 1e-6 goes first. So a
    collapsed model scores 0.

    Args:
        embeddings: (N, D); scaled to unit length here.
        labels: (N,) integers; items with a negative label (none known) neither ask nor answer. An item
            without another of its class answers but does not ask.
        within: (N,) integers; items ask among those of their own domain. Items below 0 are left out, and so
            are domains of one class, where any order is right.
        max_queries: ask with so many items only, evenly spaced; all of them when None.
        tile_rows: queries compared at a time; chosen so that 16 MiB of similarities are held when None.

    Returns:
        Means over queries, in [0, 1]: `map_at_r` (mean over the first R places of the precision at those that
        hold an item of the class), `r_precision` (share of the first R that are of the class),
        `precision_at_1`; the same behind `chance_` for an order drawn by lot; `num_items` that asked.

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
        asking = (num_right > 0).nonzero()[:, 0]
        if max_queries is not None and num_known > max_queries:
            count = min(len(asking), max(1, round(max_queries * len(part) / num_known)))
            asking = asking[torch.from_numpy(np.linspace(0, len(asking) - 1, count).astype(np.int64))]
        if len(asking):
            found.append(_by_query(rows[part], own, num_right, asking, tile_rows))
            chances.append(_by_lot(num_right[asking], len(part)))
    if not found:
        raise ValueError(f"labels: no two of {num_known} labelled items are of one class")
    means = torch.cat(found).mean(dim=0).tolist()
    by_lot = torch.cat(chances).mean(dim=0).tolist()
    figures = dict(zip(_NAMES, means, strict=True))
    figures |= {f"chance_{name}": value for name, value in zip(_NAMES, by_lot, strict=True)}
    return figures | {"num_items": sum(len(part) for part in found)}


def _by_query(
    rows: torch.Tensor,
    classes: torch.Tensor,
    num_right: torch.Tensor,
    asking: torch.Tensor,
    tile_rows: int | None,
) -> torch.Tensor:
    """(Q, 3) float64: average precision at R, R-precision and precision at 1 of each query.

    Args:
        rows: (N, D) unit rows.
        classes: (N,).
        num_right: (N,) R of each.
        asking: (Q,) places of the queries.
        tile_rows: queries at a time.
    """
    step = rows_per_tile(len(rows)) if tile_rows is None else tile_rows
    tiles = []
    for start in range(0, len(asking), step):
        queries = asking[start : start + step]
        similarity = rows[queries] @ rows.T  # (q, N)
        right = classes[queries, None] == classes  # (q, N)
        similarity += TIE * ~right
        similarity[torch.arange(len(queries), device=rows.device), queries] = -torch.inf
        wanted = num_right[queries, None]  # (q, 1)
        depth = int(wanted.max())
        first = right.gather(1, similarity.topk(depth, dim=1).indices)  # (q, depth), best first
        place = torch.arange(1, depth + 1, device=rows.device)
        hits = (first & (place <= wanted)).double()  # (q, depth), only the first R of each
        precision = hits.cumsum(dim=1) / place
        average = (precision * hits).sum(dim=1, keepdim=True) / wanted
        tiles.append(torch.cat([average, hits.sum(dim=1, keepdim=True) / wanted, hits[:, :1]], dim=1))
    return torch.cat(tiles)


def _by_lot(num_right: torch.Tensor, num_items: int) -> torch.Tensor:
    """(Q, 3) float64: what is to be expected of an order by lot.

    One place holds an item of the class with probability p = R / (n - 1), and then each place before it with
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
