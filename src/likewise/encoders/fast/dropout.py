"""Dropout that draws faster and keeps less memory than PyTorch's."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

__all__ = ["Dropout", "apply_mask", "draw_mask", "dropout"]


class Dropout(nn.Dropout):
    """`nn.Dropout` by `dropout`."""

    def forward(self, rows: Tensor) -> Tensor:
        """Any shape."""
        return dropout(rows, self.p) if self.training else rows


def dropout(rows: Tensor, p: float) -> Tensor:
    """Zero a random share of the values and scale up the others, as `F.dropout` does in training.

    On a CPU each value takes 16 random bits: a third of the time of PyTorch's uniform floats, and the
        backward
    pass keeps one byte per value instead of four. The probability is rounded to 1/65536.

    Args:
        rows: any shape, float.
        p: probability of zeroing, in [0, 1].
    """
    if rows.device.type != "cpu" or round(p * 2**16) in (0, 2**16):
        return F.dropout(rows, p)
    return apply_mask(rows, *draw_mask(rows.shape, p))


def apply_mask(rows: Tensor, mask: Tensor | None, scale: float) -> Tensor:
    """Masked rows, scaled up; `mask` and `scale` as of `draw_mask`, the rows themselves without a mask."""
    return rows if mask is None else rows.mul(mask).mul_(scale)


def draw_mask(shape: torch.Size, p: float) -> tuple[Tensor, float]:
    """A dropout mask on the CPU.

    Args:
        shape: of the values.
        p: probability of zeroing, in [0, 1].

    Returns:
        Bool of that shape, True where a value is kept; and the scale of the kept values, 1 where there are
        none.
    """
    dropped, count = round(p * 2**16), shape.numel()
    if dropped == 2**16:
        return torch.zeros(shape, dtype=torch.bool), 1.0
    bits = torch.empty((count + 3) // 4, dtype=torch.int64).random_(-(2**63), None).view(torch.int16)
    return (bits[:count] >= dropped - 2**15).view(shape), 2**16 / (2**16 - dropped)
