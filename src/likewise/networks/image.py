"""One image encoder. Dimensions: B batch, S side in pixels, D width of the embedding."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from likewise.encoders.heads import linear_projection
from likewise.encoders.image import ImageEncoder
from likewise.networks.base import Network
from likewise.networks.registry import network

__all__ = ["ImageNetwork"]


@network("image")
class ImageNetwork(Network):
    """One image encoder; its pooled features are the embedding (projectors are for training only).

    Args:
        image: the encoder.
        dim: D, width of a linear projection of the features; None to use the features themselves.
    """

    def __init__(self, image: ImageEncoder, *, dim: int | None = None) -> None:
        super().__init__()
        self.image = image
        self.projection = None if dim is None else linear_projection(image.dim, dim)
        self.dim = dim or image.dim

    def encode_images(self, pixels: Tensor) -> Tensor:
        """(B, 3, S, S) normalized pixels to (B, D)."""
        pooled: Tensor = self.image(pixels).pooled
        return pooled if self.projection is None else self.projection(pooled)

    forward = encode_audio = encode_images

    def spec(self) -> dict[str, Any]:
        """See `Network.spec`; `dim` is that of the projection, if there is one."""
        spec = super().spec()
        if self.projection is None:
            del spec["dim"]
        return spec
