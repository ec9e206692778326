"""Operations on some images of a batch."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

__all__ = ["apply_where"]


def apply_where(chosen: Tensor, operation: Callable[..., Tensor], pixels: Tensor, *of_rows: Tensor) -> Tensor:
    """An operation done to the images that are chosen; the others stay as they are.

    Args:
        chosen: (B,) bool.
        operation: from pixels (b, 3, P) and the rest of `of_rows`, b images each, to pixels.
        pixels: (B, 3, P); may be written over.
        of_rows: B rows each, what it needs to know of every image.

    Returns:
        (B, 3, P).
    """
    # Which images are chosen is known on the device only: asking would stall it, so all are done there.
    ways = _rows_alone if pixels.device.type == "cpu" else _all_and_choose
    return ways(chosen, operation, pixels, *of_rows)


def _rows_alone(chosen: Tensor, operation: Callable[..., Tensor], pixels: Tensor, *of_rows: Tensor) -> Tensor:
    rows = chosen.nonzero()[:, 0]
    if len(rows) == 0:
        return pixels
    given = [one.index_select(0, rows) for one in (pixels, *of_rows)]
    return pixels.index_copy_(0, rows, operation(*given))


def _all_and_choose(
    chosen: Tensor, operation: Callable[..., Tensor], pixels: Tensor, *of_rows: Tensor
) -> Tensor:
    return torch.where(chosen[:, None, None], operation(pixels, *of_rows), pixels)
