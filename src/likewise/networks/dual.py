"""An image and a text encoder with one shared space.

Dimensions: B batch, S side in pixels, L tokens, D width of the shared space.
"""

from __future__ import annotations

from torch import Tensor

from likewise.encoders.heads import linear_projection
from likewise.encoders.image import ImageEncoder
from likewise.encoders.text import TextEncoder
from likewise.networks.base import Network
from likewise.networks.registry import network

__all__ = ["DualNetwork"]


@network("dual")
class DualNetwork(Network):
    """An image and a text encoder, each with a linear projection into the shared space.

    Args:
        image: the image encoder.
        text: the text encoder.
        dim: D, width of the shared space.
    """

    def __init__(self, image: ImageEncoder, text: TextEncoder, *, dim: int) -> None:
        super().__init__()
        self.image = image
        self.text = text
        self.image_projection = linear_projection(image.dim, dim)
        self.text_projection = linear_projection(text.dim, dim)
        self.dim = dim

    def encode_images(self, pixels: Tensor) -> Tensor:
        """(B, 3, S, S) normalized pixels to (B, D)."""
        projected: Tensor = self.image_projection(self.image(pixels).pooled)
        return projected

    def encode_texts(self, tokens: Tensor, mask: Tensor) -> Tensor:
        """(B, L) tokens and mask to (B, D)."""
        projected: Tensor = self.text_projection(self.text(tokens, mask).pooled)
        return projected
