"""Some of many rows, the same ones each time."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["sampled_rows"]


def sampled_rows(total: int, count: int) -> NDArray[np.int64]:
    """At most `count` of `total` row numbers, drawn at random with a fixed seed, in rising order.

    The first rows are often all of one class. Evenly spaced ones meet the same class again and again where
    classes take turns: two of three statements a scene, say, are then always those of two classes.
    """
    if count >= total:
        return np.arange(total)
    return np.sort(np.random.default_rng(0).choice(total, count, replace=False))
