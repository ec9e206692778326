"""Pairs of items of the same class and of different classes, drawn without listing all of them.

N items, P pairs.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["draw_pairs", "halves_of_classes"]

_Ints = NDArray[np.int64]


def draw_pairs(
    labels: _Ints, *, num_pairs: int, generator: np.random.Generator, within: _Ints | None = None
) -> _Ints:
    """Different pairs, half of them of one class, half of two; every pair of its kind is as likely.

    The pairs are numbered (item by item: those of it and the items before it) and numbers are drawn, so
    memory grows with N and P alone.

    Args:
        labels: (N,) classes, negative where none is known; such items are in no pair.
        num_pairs: P wanted; fewer come back when there are fewer of a kind than half of it.
        generator: of the draws.
        within: (N,) domains; both items of a pair are of one domain. Items below 0 are in no pair.

    Returns:
        (P, 2) rows, the pairs of one class first; (0, 2) when a kind has none.
    """
    domains = np.zeros_like(labels) if within is None else within
    known = np.flatnonzero((labels >= 0) & (domains >= 0))
    order = known[np.lexsort((labels[known], domains[known]))]
    place = np.arange(len(order))
    if len(order) == 0:
        return np.empty((0, 2), dtype=np.int64)
    new_domain = np.diff(domains[order], prepend=-1) != 0
    new_class = new_domain | (np.diff(labels[order], prepend=-1) != 0)
    domain_start = np.maximum.accumulate(np.where(new_domain, place, 0))
    class_start = np.maximum.accumulate(np.where(new_class, place, 0))
    kinds = ((class_start, place - class_start), (domain_start, class_start - domain_start))
    count = min(num_pairs // 2, *(int(partners.sum()) for _, partners in kinds))
    drawn = [_draw(first, partners, count, generator) for first, partners in kinds]
    return order[np.concatenate(drawn)]


def _draw(first: _Ints, partners: _Ints, count: int, generator: np.random.Generator) -> _Ints:
    """(count, 2) places: item i with one of `partners[i]` places from `first[i]` on, no pair twice."""
    ends = np.cumsum(partners)
    number = np.sort(generator.choice(int(ends[-1]), size=count, replace=False))
    item = np.searchsorted(ends, number, side="right")
    other = first[item] + number - (ends[item] - partners[item])
    return np.stack([item, other], axis=1)


def halves_of_classes(
    labels: _Ints, generator: np.random.Generator, within: _Ints | None = None
) -> NDArray[np.bool_]:
    """Two halves that share no class: (N,) True for the items of the first.

    Classes with several items are dealt in turn, in an order drawn by lot, then those with one; under
    `within` domain by domain, so that both halves have classes of each.

    Args:
        labels: (N,) classes, negative where none is known (False).
        generator: of the order.
        within: (N,) domains.
    """
    known = np.flatnonzero(labels >= 0)
    classes, first, counts = np.unique(labels[known], return_index=True, return_counts=True)
    domains = np.zeros(len(classes), dtype=np.int64) if within is None else within[known][first]
    order = np.lexsort((generator.permutation(len(classes)), domains, counts < 2))
    return np.asarray(np.isin(labels, classes[order[::2]]))
