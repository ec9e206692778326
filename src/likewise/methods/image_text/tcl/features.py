"""Features of TCL's networks: states of images and texts, unit vectors, regions of patches.

Dimensions: B batch, L tokens, N patches, D width of the shared space, E, F widths of the encoders.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from likewise.networks.fusion import FusionNetwork

__all__ = ["encode", "pool_patches", "unit"]


def unit(rows: Tensor) -> Tensor:
    """(..., D) at unit length, float32 or better."""
    return F.normalize(rows if rows.dtype == torch.float64 else rows.float(), dim=-1)


def encode(
    network: FusionNetwork, pixels: Tensor, tokens: Tensor, masked_tokens: Tensor | None, mask: Tensor
) -> tuple[Tensor, Tensor, Tensor | None]:
    """States of images (B, 1 + N, E), of texts (B, L, F), and of the same texts with masked tokens."""
    image_states = network.image_states(pixels)
    if masked_tokens is None:
        return image_states, network.text_states(tokens, mask), None
    both = network.text_states(torch.cat([tokens, masked_tokens]), torch.cat([mask, mask]))
    return image_states, *both.chunk(2)  # type: ignore[return-value]


def pool_patches(patches: Tensor) -> Tensor:
    """(B, g g, D) patches to (B, c c, D) means of regions, c = floor(sqrt(g)), for any g."""
    B, N, D = patches.shape
    side = math.isqrt(N)
    assert side * side == N, "square images have square grids"
    grid = patches.transpose(1, 2).reshape(B, D, side, side)
    pooled: Tensor = F.adaptive_avg_pool2d(grid, math.isqrt(side))
    return pooled.flatten(2).transpose(1, 2)
