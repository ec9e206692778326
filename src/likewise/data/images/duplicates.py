"""Pictures that occur more than once: the same bytes, or nearly the same picture.

N pictures of side S. Near duplicates share a difference hash (Krawetz, "Kind of like that", 2013: which of
two neighbouring cells of a 9 x 8 grid is brighter) up to a few of its 64 bits, and look alike as small
pictures too. The second test is needed because drawings on empty ground leave most comparisons undecided, so
their hashes agree.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from likewise.views.colour import GREY

__all__ = ["difference_hashes", "exact_duplicates", "near_duplicates"]

_MAX_DISTANCE = 3
"""Bits in which hashes may differ: 3 wrong bits leave one of 4 bands of 16 intact, to be found by sorting."""
_MAX_DIFFERENCE = 5.0
_MAX_DIFFERENCE_SHARE = 0.1
"""Mean absolute difference of 16 x 16 thumbnails: of 255, and of their deviation (thin lines have little)."""
_BANDS = 4
_WINDOW = 16
_CHUNK = 1024


def exact_duplicates(hashes: NDArray[np.uint64]) -> list[list[int]]:
    """Groups of at least two places with equal content hashes (N,), by first occurrence."""
    order = np.argsort(hashes, kind="stable")
    cuts = np.flatnonzero(np.diff(hashes[order])) + 1
    groups = [sorted(int(i) for i in group) for group in np.split(order, cuts) if len(group) > 1]
    return sorted(groups)


def difference_hashes(
    images: Callable[[NDArray[np.int64]], Tensor], count: int
) -> tuple[NDArray[np.uint64], NDArray[np.float32]]:
    """Hash every picture.

    Args:
        images: gives (n, 3, S, S) uint8 for n places.
        count: N.

    Returns:
        (N,) difference hashes and (N, 256) brightness of 16 x 16 thumbnails, both with contrast as it is.
    """
    hashes, thumbnails = [], []
    weights = torch.tensor(GREY).view(1, 3, 1, 1)
    powers = 2 ** np.arange(64, dtype=np.uint64)
    for start in range(0, count, _CHUNK):
        batch = images(np.arange(start, min(start + _CHUNK, count)))
        # Averaging colours at 16 x 18 first leaves a hundredth of the pixels to weigh: 18 halves to 9, 16 to
        # 8.
        small = F.adaptive_avg_pool2d(batch.float(), (16, 18))  # (n, 3, 16, 18)
        grey = (small * weights).sum(dim=1)  # (n, 16, 18)
        cells = F.avg_pool2d(grey, 2)  # (n, 8, 9)
        # Half a grey level of margin: on even ground the sign of a rounding error is no feature.
        brighter = (cells[:, :, 1:] > cells[:, :, :-1] + 0.5).flatten(1).numpy()  # (n, 64)
        hashes.append((brighter * powers).sum(axis=1, dtype=np.uint64))
        thumbnails.append(F.adaptive_avg_pool2d(grey, (16, 16)).flatten(1).numpy())
    if not hashes:
        return np.zeros(0, np.uint64), np.zeros((0, 256), np.float32)
    return np.concatenate(hashes), np.concatenate(thumbnails)


def near_duplicates(hashes: NDArray[np.uint64], thumbnails: NDArray[np.float32]) -> list[list[int]]:
    """Groups of at least two places that look nearly the same.

    Work is N log N: candidates are neighbours in the order of one band of the hash, then of brightness,
    within a window; so of very many pictures with the same band, some pairs may be missed.

    Args:
        hashes: (N,) from `difference_hashes`.
        thumbnails: (N, 256) from the same.
    """
    bits = 64 // _BANDS
    parent = np.arange(len(hashes))
    brightness = thumbnails.mean(axis=1)
    deviation = np.abs(thumbnails - brightness[:, None]).mean(axis=1)
    allowed = np.minimum(_MAX_DIFFERENCE, 0.25 + _MAX_DIFFERENCE_SHARE * deviation)
    for band in range(_BANDS):
        keys = (hashes >> np.uint64(band * bits)) & np.uint64((1 << bits) - 1)
        order = np.lexsort((brightness, hashes, keys))
        for step in range(1, min(_WINDOW, len(order))):
            left, right = order[:-step], order[step:]
            pairs = keys[left] == keys[right]
            pairs &= _bit_count(hashes[left] ^ hashes[right]) <= _MAX_DISTANCE
            left, right = left[pairs], right[pairs]
            alike = np.abs(thumbnails[left] - thumbnails[right]).mean(axis=1) <= allowed[left]
            for first, second in zip(left[alike], right[alike], strict=True):
                _join(parent, int(first), int(second))
    roots: dict[int, list[int]] = {}
    for place in range(len(parent)):
        roots.setdefault(_root(parent, place), []).append(place)
    return [group for group in roots.values() if len(group) > 1]


def _bit_count(values: NDArray[np.uint64]) -> NDArray[np.int64]:
    """How many bits are set (numpy has bitwise_count from 2.0 on only)."""
    as_bytes = values.view(np.uint8).reshape(len(values), 8)
    counted: NDArray[np.int64] = np.unpackbits(as_bytes, axis=1).sum(axis=1, dtype=np.int64)
    return counted


def _root(parent: NDArray[np.int64], place: int) -> int:
    while parent[place] != place:
        parent[place] = parent[parent[place]]
        place = int(parent[place])
    return place


def _join(parent: NDArray[np.int64], first: int, second: int) -> None:
    first, second = _root(parent, first), _root(parent, second)
    parent[max(first, second)] = min(first, second)
