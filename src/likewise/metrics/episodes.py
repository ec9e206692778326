"""Episodes of few-shot classification: which items can be in one, and drawing them.

N items, E episodes, W ways, S shots, Q queries. A cell holds the items of one class in one domain from one
source.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["Pools", "usable_pools", "draw_episodes"]

# Pairs are formed of at most this many sources of a domain, those with the most classes.
_MAX_SOURCES = 256

# An error message names the sizes of this many classes.
_MOST_SIZES = 5

_Ints = NDArray[np.int64]


@dataclass(frozen=True, kw_only=True)
class Pools:
    """What episodes are drawn from."""

    cells: list[_Ints]
    """The rows of each cell."""
    pools: list[list[_Ints]]
    """By domain, then by pair of sources (one pool without sources): (2, classes) cells that the supports
    and the queries of each class come from."""
    num_ways: int
    """W classes of an episode."""
    num_shots: int
    """S supports of each."""
    num_queries: int
    """Q queries of each."""

    @property
    def num_domains(self) -> int:
        """Number of domains that can fill an episode."""
        return len(self.pools)


def usable_pools(
    labels: _Ints,
    *,
    num_ways: int,
    num_shots: int,
    num_queries: int,
    within: _Ints | None = None,
    sources: _Ints | None = None,
) -> Pools:
    """Cells that can fill an episode.

    Args:
        labels: (N,) classes, negative where unknown.
        num_ways: classes of an episode, two or more.
        num_shots: supports of each, one or more.
        num_queries: queries of each, one or more.
        within: (N,) domains; an episode stays inside one.
        sources: (N,) sources; supports come from one, queries from another.

    Raises:
        ValueError: a count too small, or nothing can fill an episode.
    """
    if num_ways < 2 or num_shots < 1 or num_queries < 1:
        raise ValueError(
            "an episode needs at least 2 ways, 1 shot and 1 query, "
            f"got {num_ways}, {num_shots} and {num_queries}"
        )
    domains, makers = (np.zeros_like(labels) if given is None else given for given in (within, sources))
    rows = np.flatnonzero((labels >= 0) & (domains >= 0) & (makers >= 0))
    keys = np.stack([domains[rows], labels[rows], makers[rows]], axis=1)  # (n, 3)
    kinds, cell_of = np.unique(keys, axis=0, return_inverse=True)
    counts = np.bincount(cell_of.reshape(-1), minlength=len(kinds))
    ordered = rows[np.argsort(cell_of.reshape(-1), kind="stable")]
    cells = np.split(ordered, np.cumsum(counts)[:-1])
    pools = []
    for domain in np.unique(kinds[:, 0]):
        inside = np.flatnonzero(kinds[:, 0] == domain)
        if sources is None:
            able = inside[counts[inside] >= num_shots + num_queries]
            found = [np.stack([able, able])] if len(able) >= num_ways else []
        else:
            found = _pairs(kinds, counts, inside, num_ways, num_shots, num_queries)
        if found:
            pools.append(found)
    if not pools:
        raise ValueError(
            _too_few(num_ways, num_shots, num_queries, within is not None, sources is not None)
            + f"; {_there_are(labels)}"
        )
    return Pools(cells=cells, pools=pools, num_ways=num_ways, num_shots=num_shots, num_queries=num_queries)


def _pairs(
    kinds: _Ints, counts: _Ints, inside: _Ints, num_ways: int, num_shots: int, num_queries: int
) -> list[_Ints]:
    """The pools of one domain: a (2, classes) of cells for each ordered pair of sources that share enough.

    Args:
        kinds: (cells, 3) domain, class, source of each cell.
        counts: (cells,) items of each.
        inside: cells of the domain.
        num_ways: classes a pair must share.
        num_shots: items the first source needs of a class.
        num_queries: items the second needs.
    """
    makers, num_classes = np.unique(kinds[inside, 2], return_counts=True)
    rich = np.argsort(-num_classes, kind="stable")[:_MAX_SOURCES]
    makers = np.sort(makers[rich[num_classes[rich] >= num_ways]])
    classes = np.unique(kinds[inside, 1])
    inside = inside[np.isin(kinds[inside, 2], makers)]
    cell = np.full((len(classes), len(makers)), -1, dtype=np.int64)
    cell[np.searchsorted(classes, kinds[inside, 1]), np.searchsorted(makers, kinds[inside, 2])] = inside
    size = np.where(cell >= 0, counts[cell], 0)
    pools = []
    for first in range(len(makers)):
        for second in range(len(makers)):
            if first == second:
                continue
            able = (size[:, first] >= num_shots) & (size[:, second] >= num_queries)
            if int(able.sum()) >= num_ways:
                pools.append(np.stack([cell[able, first], cell[able, second]]))
    return pools


def _too_few(num_ways: int, num_shots: int, num_queries: int, domains: bool, sources: bool) -> str:
    items = f"{num_shots + num_queries} items" if not sources else f"{num_shots} and {num_queries} items"
    where = " in one domain" if domains else ""
    who = " by two sources" if sources else ""
    return f"{num_ways}-way episodes need {num_ways} classes of at least {items} each{who}{where}"


def _there_are(labels: _Ints) -> str:
    """How many classes and items there are, and how large the largest classes."""
    sizes = np.sort(np.unique(labels[labels >= 0], return_counts=True)[1])[::-1].tolist()
    said = f"there are {len(sizes)} classes of {sum(sizes)} items in all"
    return f"{said}, the largest of {', '.join(map(str, sizes[:_MOST_SIZES]))}" if sizes else said


def draw_episodes(pools: Pools, num_episodes: int, generator: np.random.Generator) -> tuple[_Ints, _Ints]:
    """Draw a domain, a pair of sources, classes, and supports and queries of each class, without replacement.

    Args:
        pools: what to draw from.
        num_episodes: E.
        generator: of the draws.

    Returns:
        (E, W, S) rows of supports and (E, W, Q) rows of queries.
    """
    support_cells = np.empty((num_episodes, pools.num_ways), dtype=np.int64)
    query_cells = np.empty_like(support_cells)
    for episode in range(num_episodes):
        domain = pools.pools[generator.integers(len(pools.pools))]
        pool = domain[generator.integers(len(domain))]
        drawn = generator.permutation(pool.shape[1])[: pools.num_ways]
        support_cells[episode], query_cells[episode] = pool[0, drawn], pool[1, drawn]
    flat = np.concatenate(pools.cells)
    sizes = np.array([len(cell) for cell in pools.cells])
    starts = np.cumsum(sizes) - sizes
    shots, queries = pools.num_shots, pools.num_queries
    if (support_cells == query_cells).all():
        # one draw for both, so that no query is a support
        places = _distinct(sizes[support_cells], shots + queries, generator)
        both = flat[starts[support_cells][..., None] + places]
        return both[..., :shots], both[..., shots:]
    supports = starts[support_cells][..., None] + _distinct(sizes[support_cells], shots, generator)
    others = starts[query_cells][..., None] + _distinct(sizes[query_cells], queries, generator)
    return flat[supports], flat[others]


def _distinct(sizes: _Ints, count: int, generator: np.random.Generator) -> _Ints:
    """(..., count) different numbers below each of `sizes`, every arrangement equally likely."""
    drawn = np.empty((*sizes.shape, count), dtype=np.int64)
    for place in range(count):
        number = generator.integers(sizes - place)
        # Skip the numbers already drawn, in ascending order.
        for earlier in np.moveaxis(np.sort(drawn[..., :place], axis=-1), -1, 0):
            number = number + (number >= earlier)
        drawn[..., place] = number
    return drawn
