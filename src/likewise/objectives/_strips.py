"""Sums over all pairs, a strip of rows at a time, each strip made again on the way back.

For objectives whose pairs need more than a log-sum-exp (distances, hinges, orderings). Autograd does the
rest: a strip's intermediate tensors live only while the strip does, so memory is linear in the rows.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from ._numerics import SHORTEST
from ._tiles import MORE_ON_DEVICE

__all__ = ["distances", "squared_distances", "strip_values"]

# Pairs held at a time, at least; and rows, at least (fewer make thin products and many sums of key
# gradients).
STRIP_ENTRIES = 256 * 1024
STRIP_ROWS = 128


def strip_values(function: Callable[..., Tensor], width: int, *rows: Tensor) -> Tensor:
    """Apply `function` to strips of the given rows and join what it gives a row.

    Args:
        function: takes a strip of each of `rows`, returns (r,) or (r, k): values of these rows only.
        width: pairs a row makes.
        rows: each (B, ...).

    Returns:
        (B,) or (B, k).
    """
    entries = STRIP_ENTRIES * (1 if rows[0].device.type == "cpu" else MORE_ON_DEVICE)
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
    """Square root with gradient 0 at 0, where the direction is not defined."""
    return torch.where(squared > SHORTEST, squared.clamp_min(SHORTEST).sqrt(), 0.0)
