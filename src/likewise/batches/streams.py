"""Random numbers and endless permutations, as functions of the seed and a place."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

__all__ = ["Rows", "Stream", "generator"]

Rows = NDArray[np.int64]


def generator(seed: int, purpose: int, number: int) -> np.random.Generator:
    """Random numbers of one epoch or step."""
    return np.random.Generator(np.random.Philox(key=[seed, number], counter=[0, 0, 0, purpose]))


class Stream:
    """An endless row of permutations of 0 ... length - 1.

    Args:
        length: of each permutation.
        seed: of the run.
        purpose: another number for each stream of a run.
    """

    def __init__(self, length: int, seed: int, purpose: int) -> None:
        self._length = length
        self._permutation = lru_cache(maxsize=4)(
            lambda turn: generator(seed, purpose, turn).permutation(length)
        )

    def take(self, start: int, count: int) -> Rows:
        """(count,) numbers from place `start`."""
        turns, places = np.divmod(np.arange(start, start + count), self._length)
        return np.concatenate([self._permutation(int(t))[places[turns == t]] for t in np.unique(turns)])
