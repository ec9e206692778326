"""Batches of two domains.

Dimensions: N rows, R processes.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from likewise.batches.streams import Rows, Stream, generator

__all__ = ["DomainOrder", "shared_groups"]


class DomainOrder:
    """Source rows and target rows in a stated share, on each process; both shuffled without replacement.

    Each domain has epochs of its own; an epoch of the order is one pass over the source rows.
    """

    def __init__(
        self,
        is_target: NDArray[np.bool_],
        *,
        batch_size: int,
        source_share: float,
        world_size: int,
        seed: int,
        groups: Rows | None = None,
    ) -> None:
        each = batch_size // world_size
        sources = min(max(round(source_share * each), 1), each - 1)
        self._counts = (sources * world_size, batch_size - sources * world_size)
        self._domains = [np.flatnonzero(~is_target), np.flatnonzero(is_target)]
        self._streams = [Stream(len(rows), seed, 5 + number) for number, rows in enumerate(self._domains)]
        self._world_size, self._seed, self._groups = world_size, seed, groups
        self.steps_per_epoch = max(1, len(self._domains[0]) // self._counts[0])
        if groups is not None:
            target = self._domains[1]
            self._by_group = target[np.argsort(groups[target], kind="stable")]

    def rows(self, step: int) -> Rows:
        """See `Order`."""
        drawn = [
            rows[stream.take(step * count, count)].reshape(self._world_size, -1)
            for rows, stream, count in zip(self._domains, self._streams, self._counts, strict=True)
        ]
        if self._groups is not None:
            self._pair(self._groups, drawn[0], drawn[1], step)
        both: Rows = np.concatenate(drawn, axis=1).reshape(-1)  # process by process
        return both

    def _pair(self, groups: Rows, source: Rows, target: Rows, step: int) -> None:
        """Put counterparts of the source rows, where they have one, at every second place of the target.

        Args:
            groups: (N,).
            source: (R, sources) rows of each process.
            target: (R, targets), changed in place.
            step: decides which of several counterparts.
        """
        width = min(source.shape[1], target.shape[1])
        wanted, known = groups[source[:, :width:2]], groups[self._by_group]
        first, last = np.searchsorted(known, wanted), np.searchsorted(known, wanted, side="right")
        draws = generator(self._seed, 7, step).random(wanted.shape)
        places = first + (draws * (last - first)).astype(np.int64)
        found = self._by_group[np.minimum(places, len(self._by_group) - 1)]
        target[:, :width:2] = np.where(last > first, found, target[:, :width:2])


def shared_groups(groups: Rows, is_target: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """(sources,) whether the group of each source row has target rows too."""
    return np.isin(groups[~is_target], groups[is_target])
