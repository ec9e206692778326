"""What networks of two encoders with one shared space have in common.

Dimensions: B batch, S side in pixels, D width of the shared space.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn

from likewise.encoders.heads import linear_projection
from likewise.encoders.image import ImageEncoder
from likewise.networks.base import Network

__all__ = ["TwoTowers"]


class TwoTowers(Network):
    """An image encoder and another one, each with a linear projection into the shared space, and the scale of
    their cosines.

    Args:
        towers: both encoders, by the names of the network's parts.
        dim: D, width of the shared space.
        projected: with projections; without them both encoders' vectors have D values already (SigLIP).
        temperature: what divides cosines, learned; None for a network that was saved without it.
        bias: what is added to them, learned; None without a bias, as for the softmax loss.
    """

    image: ImageEncoder
    image_projection: nn.Module

    def __init__(
        self,
        towers: dict[str, Any],
        *,
        dim: int,
        projected: bool,
        temperature: float | None,
        bias: float | None,
    ) -> None:
        super().__init__()
        for name, tower in towers.items():
            self.add_module(name, tower)
        self.projected = projected
        for name, tower in towers.items():
            projection = linear_projection(tower.dim, dim) if projected else nn.Identity()
            self.add_module(f"{name}_projection", projection)
        self.dim = dim
        self.logit_scale = _learned(None if temperature is None else -math.log(temperature))
        self.logit_bias = _learned(bias)

    @property
    def temperature(self) -> float | None:
        """What divides cosines; None where it is not known."""
        return None if self.logit_scale is None else float(torch.exp(-self.logit_scale.detach()))

    @property
    def bias(self) -> float | None:
        """What is added to scaled cosines; None without a bias."""
        return None if self.logit_bias is None else float(self.logit_bias.detach())

    def encode_images(self, pixels: Tensor) -> Tensor:
        """(B, 3, S, S) normalized pixels to (B, D)."""
        projected: Tensor = self.image_projection(self.image(pixels).pooled)
        return projected

    def spec(self) -> dict[str, Any]:
        """See `Network.spec`; without what is as in networks saved before it was known."""
        former = {"projected": True, "temperature": None, "bias": None}
        return {name: value for name, value in super().spec().items() if value != former.get(name, self)}


def _learned(value: float | None) -> nn.Parameter | None:
    return None if value is None else nn.Parameter(torch.tensor(value))
