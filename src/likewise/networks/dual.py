"""An image and a text encoder with one shared space.

Dimensions: B batch, S side in pixels, L tokens, D width of the shared space.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn

from likewise.encoders.heads import linear_projection
from likewise.encoders.image import ImageEncoder
from likewise.encoders.text import TextEncoder
from likewise.networks.base import Network
from likewise.networks.registry import network

__all__ = ["DualNetwork"]


@network("dual")
class DualNetwork(Network):
    """An image and a text encoder, each with a linear projection into the shared space, and the scale of its
    cosines.

    Args:
        image: the image encoder.
        text: the text encoder.
        dim: D, width of the shared space.
        projected: with projections; without them both encoders' vectors have D values already (SigLIP).
        temperature: what divides cosines, learned; None for a network that was saved without it.
        bias: what is added to them, learned; None without a bias, as for the softmax loss.
    """

    def __init__(
        self,
        image: ImageEncoder,
        text: TextEncoder,
        *,
        dim: int,
        projected: bool = True,
        temperature: float | None = None,
        bias: float | None = None,
    ) -> None:
        super().__init__()
        self.image = image
        self.text = text
        self.projected = projected
        self.image_projection = linear_projection(image.dim, dim) if projected else nn.Identity()
        self.text_projection = linear_projection(text.dim, dim) if projected else nn.Identity()
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

    def encode_texts(self, tokens: Tensor, mask: Tensor) -> Tensor:
        """(B, L) tokens and mask to (B, D)."""
        projected: Tensor = self.text_projection(self.text(tokens, mask).pooled)
        return projected

    def spec(self) -> dict[str, Any]:
        """See `Network.spec`; without what is as in networks saved before it was known."""
        former = {"projected": True, "temperature": None, "bias": None}
        return {name: value for name, value in super().spec().items() if value != former.get(name, self)}


def _learned(value: float | None) -> nn.Parameter | None:
    return None if value is None else nn.Parameter(torch.tensor(value))
