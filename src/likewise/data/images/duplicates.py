"""Images that occur more than once: the same bytes, or nearly the same image.

N images of side S. Near duplicates share a difference hash (Krawetz, "Kind of like that", 2013: which of two
neighbouring cells of a 9 x 8 grid is brighter) up to a few of its 64 bits, and have similar thumbnails. The
second test is needed because drawings on a plain background leave most comparisons undecided, so their
hashes agree.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components
from torch import Tensor
from torch.nn import functional as F

from likewise.views.colour import GREY

__all__ = ["difference_hashes", "exact_duplicates", "near_duplicates"]

_MAX_DISTANCE = 3
"""Bits in which hashes may differ: 3 wrong bits leave one of 4 bands of 16 intact, to be found by sorting."""
_MAX_DIFFERENCE = 5.0
_MAX_DIFFERENCE_SHARE = 0.1
"""Mean absolute difference of 16 x 16 thumbnails: out of 255, and as a share of their deviation."""
_BANDS = 4
_WINDOW = 16
_CHUNK = 1024


def exact_duplicates(hashes: NDArray[np.uint64]) -> list[list[int]]:
    """Groups of at least two rows with equal content hashes (N,), by first occurrence."""
    return _groups(hashes)


def difference_hashes(
    images: Callable[[NDArray[np.int64]], Tensor], count: int
) -> tuple[NDArray[np.uint64], NDArray[np.float32]]:
    """Hash every image.

    Args:
        images: gives (n, 3, S, S) uint8 for n rows.
        count: N.

    Returns:
        (N,) difference hashes and (N, 256) brightness of 16 x 16 thumbnails, without normalizing contrast.
    """
    hashes, thumbnails = [], []
    weights = torch.tensor(GREY).view(1, 3, 1, 1)
    powers = 2 ** np.arange(64, dtype=np.uint64)
    for start in range(0, count, _CHUNK):
        batch = images(np.arange(start, min(start + _CHUNK, count)))
        # Averaging to 16 x 18 before weighting the colors leaves far fewer pixels: 18 halves to 9, 16 to 8.
        small = F.adaptive_avg_pool2d(batch.float(), (16, 18))  # (n, 3, 16, 18)
        grey = (small * weights).sum(dim=1)  # (n, 16, 18)
        cells = F.avg_pool2d(grey, 2)  # (n, 8, 9)
        # Half a grey level of margin: on a plain background the sign of a rounding error is no feature.
        brighter = (cells[:, :, 1:] > cells[:, :, :-1] + 0.5).flatten(1).numpy()  # (n, 64)
        hashes.append((brighter * powers).sum(axis=1, dtype=np.uint64))
        thumbnails.append(F.adaptive_avg_pool2d(grey, (16, 16)).flatten(1).numpy())
    if not hashes:
        return np.zeros(0, np.uint64), np.zeros((0, 256), np.float32)
    return np.concatenate(hashes), np.concatenate(thumbnails)


def near_duplicates(hashes: NDArray[np.uint64], thumbnails: NDArray[np.float32]) -> list[list[int]]:
    """Groups of at least two rows that look nearly the same, by first occurrence.

    Work is N log N: candidates are neighbours within a window, sorted by a band of the hash, then by
    brightness; among very many images with the same band, some pairs may be missed.

    Args:
        hashes: (N,) from `difference_hashes`.
        thumbnails: (N, 256) from the same.
    """
    bits = 64 // _BANDS
    brightness = thumbnails.mean(axis=1)
    deviation = np.abs(thumbnails - brightness[:, None]).mean(axis=1)
    allowed = np.minimum(_MAX_DIFFERENCE, 0.25 + _MAX_DIFFERENCE_SHARE * deviation)
    pairs = [np.zeros((2, 0), np.int64)]
    for band in range(_BANDS):
        keys = (hashes >> np.uint64(band * bits)) & np.uint64((1 << bits) - 1)
        order = np.lexsort((brightness, hashes, keys))
        for step in range(1, min(_WINDOW, len(order))):
            left, right = order[:-step], order[step:]
            near = keys[left] == keys[right]
            near &= _bit_count(hashes[left] ^ hashes[right]) <= _MAX_DISTANCE
            left, right = left[near], right[near]
            alike = np.abs(thumbnails[left] - thumbnails[right]).mean(axis=1) <= allowed[left]
            pairs.append(np.stack([left[alike], right[alike]]))
    left, right = np.concatenate(pairs, axis=1)
    count = len(hashes)
    graph = coo_matrix((np.ones(len(left), bool), (left, right)), shape=(count, count))
    component = connected_components(graph, directed=False)[1] if count else np.zeros(0, np.int32)
    return _groups(component)


def _groups(values: NDArray[Any]) -> list[list[int]]:
    """The places of equal values, for values that occur at least twice; by first occurrence."""
    order = np.argsort(values, kind="stable")
    cuts = np.flatnonzero(np.diff(values[order])) + 1
    return sorted(group.tolist() for group in np.split(order, cuts) if len(group) > 1)


def _bit_count(values: NDArray[np.uint64]) -> NDArray[np.int64]:
    """How many bits are set (numpy has bitwise_count from 2.0 on only)."""
    as_bytes = values.view(np.uint8).reshape(len(values), 8)
    counted: NDArray[np.int64] = np.unpackbits(as_bytes, axis=1).sum(axis=1, dtype=np.int64)
    return counted
