"""Operations on some images of a batch."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

__all__ = ["apply_where"]


def apply_where(mask: Tensor, operation: Callable[..., Tensor], pixels: Tensor, *per_image: Tensor) -> Tensor:
    """Apply an operation to the images where `mask` is true; the others stay unchanged.

    Args:
        mask: (B,) bool.
        operation: takes pixels (b, 3, P) and b rows of each of `per_image`, returns pixels.
        pixels: (B, 3, P); may be overwritten.
        per_image: (B, ...) further arguments of the operation.

    Returns:
        (B, 3, P).
    """
    # Reading the mask would stall a device, so there all images are computed.
    apply = _apply_to_selected if pixels.device.type == "cpu" else _apply_to_all
    return apply(mask, operation, pixels, *per_image)


def _apply_to_selected(
    mask: Tensor, operation: Callable[..., Tensor], pixels: Tensor, *per_image: Tensor
) -> Tensor:
    rows = mask.nonzero()[:, 0]
    if len(rows) == 0:
        return pixels
    selected = [one.index_select(0, rows) for one in (pixels, *per_image)]
    return pixels.index_copy_(0, rows, operation(*selected))


def _apply_to_all(
    mask: Tensor, operation: Callable[..., Tensor], pixels: Tensor, *per_image: Tensor
) -> Tensor:
    return torch.where(mask[:, None, None], operation(pixels, *per_image), pixels)
