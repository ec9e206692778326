"""Where embedded rows lie: an earlier generation of an index, and parts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from likewise.search.index import Index
from likewise.search.rows.listing import Entry
from likewise.search.rows.parts import Rows

__all__ = ["GenerationStore", "Store", "Taken", "gathered", "keys_of"]


class Store(Protocol):
    """Where embedded rows lie: an earlier generation, or a part."""

    def keys(self) -> list[str]:
        """The key of each row."""

    def read(self, rows: NDArray[np.int64]) -> Rows:
        """What these rows hold."""


class Taken(NamedTuple):
    """Rows of the new generation that come from one store: (R,) places there, (R,) rows here."""

    store: Store
    rows: NDArray[np.int64]
    places: NDArray[np.int64]


class GenerationStore:
    """The rows of an index as a store."""

    def __init__(self, index: Index) -> None:
        self._index = index

    def keys(self) -> list[str]:
        """See Store."""
        keys: list[str] = self._index.table["key"].to_pylist()
        return keys

    def read(self, rows: NDArray[np.int64]) -> Rows:
        """See Store."""
        contents = self._index.table["content"].take(rows).to_numpy()
        thumbnails = [self._index.thumbnail(row) or b"" for row in rows.tolist()]
        return Rows(np.asarray(self._index.vectors[rows], np.float32), contents, thumbnails)


def keys_of(stores: Sequence[Store]) -> set[str]:
    """The keys of all rows of all stores."""
    return {key for store in stores for key in store.keys()}  # noqa: SIM118


def gathered(listed: Sequence[Entry], stores: Sequence[Store]) -> tuple[list[Entry], list[Taken]]:
    """The entries whose vector is in some store, and where."""
    found: dict[str, tuple[int, int]] = {}
    for number, store in enumerate(stores):
        for row, key in enumerate(store.keys()):
            found.setdefault(key, (number, row))
    entries = [entry for entry in listed if entry.key in found]
    where = np.array([found[entry.key] for entry in entries], np.int64).reshape(-1, 2)
    taken = []
    for number, store in enumerate(stores):
        places = np.flatnonzero(where[:, 0] == number)
        places = places[np.argsort(where[places, 1], kind="stable")]
        if len(places):
            taken.append(Taken(store, where[places, 1], places))
    return entries, taken
