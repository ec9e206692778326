"""One image encoder. Dimensions: B batch, S side in pixels, D width of the embedding."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from likewise.encoders.heads import linear_projection
from likewise.encoders.image import ImageEncoder

__all__ = ["ImageNetwork"]


class ImageNetwork(nn.Module):
    """One image encoder; its pooled features are the embedding (projectors are for training only).

    Args:
        image: the encoder.
        dim: D, of a linear map of the pooled features which is the embedding then; None for the features.
    """

    kind = "image"

    def __init__(self, image: ImageEncoder, *, dim: int | None = None) -> None:
        super().__init__()
        self.image = image
        self.projection = None if dim is None else linear_projection(image.dim, dim)
        self.dim = dim or image.dim

    def encode_images(self, pixels: Tensor) -> Tensor:
        """(B, 3, S, S) normalised pixels to (B, D)."""
        pooled: Tensor = self.image(pixels).pooled
        return pooled if self.projection is None else self.projection(pooled)

    forward = encode_images

    def spec(self) -> dict[str, Any]:
        """What `network_from_spec` needs."""
        own = {} if self.projection is None else {"dim": self.dim}
        return {"kind": self.kind, "image": self.image.spec(), **own}
