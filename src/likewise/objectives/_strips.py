"""Sums over all pairs, a strip of rows at a time, each strip recomputed in the backward pass.

For objectives whose pairs need more than a log-sum-exp (distances, hinges, orderings). Autograd does the
rest: a strip's intermediate tensors live only while the strip does, so memory is linear in the rows.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from ._numerics import MIN_LENGTH
from ._tiles import DEVICE_FACTOR

__all__ = ["distances", "map_strips", "squared_distances"]

# Least pairs, and least rows, of a strip: fewer rows make thin products and many sums of key gradients.
STRIP_ENTRIES = 256 * 1024
STRIP_ROWS = 128


def map_strips(function: Callable[..., Tensor], width: int, *rows: Tensor) -> Tensor:
    """Apply `function` to strips of the given rows and concatenate the results.

    Args:
        function: takes a strip of each of `rows`, returns (r,) or (r, k), values of these rows only.
        width: pairs of a row.
        rows: each (B, ...).

    Returns:
        (B,) or (B, k).
    """
    entries = STRIP_ENTRIES * (1 if rows[0].device.type == "cpu" else DEVICE_FACTOR)
    height = max(STRIP_ROWS, entries // max(width, 1))
    if rows[0].shape[0] <= height:
        return function(*rows)
    # split, not slices: the gradient of a slice is as large as the whole.
    strips = zip(*(torch.split(value, height) for value in rows), strict=True)
    values = [checkpoint(function, *strip, use_reentrant=False, preserve_rng_state=False) for strip in strips]
    return torch.cat(values)


def squared_distances(rows: Tensor, others: Tensor) -> Tensor:
    """(r, D) and (M, D) to (r, M), by the Gram matrix; never below 0."""
    lengths = (rows * rows).sum(1)[:, None] + (others * others).sum(1)
    return torch.addmm(lengths, rows, others.t(), alpha=-2).clamp_min(0)


def distances(squared: Tensor) -> Tensor:
    """Square root with gradient 0 at 0, where the direction is undefined."""
    return torch.where(squared > MIN_LENGTH, squared.clamp_min(MIN_LENGTH).sqrt(), 0.0)
