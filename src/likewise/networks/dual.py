"""An image and a text encoder with one shared space.

Dimensions: B batch, S side in pixels, L tokens, D width of the shared space.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from likewise.encoders.heads import linear_projection
from likewise.encoders.image import ImageEncoder
from likewise.encoders.text import TextEncoder

__all__ = ["DualNetwork"]


class DualNetwork(nn.Module):
    """An image and a text encoder with one linear projection each into a shared space.

    Args:
        image: the image encoder.
        text: the text encoder.
        dim: D, width of the shared space.
    """

    kind = "dual"

    def __init__(self, image: ImageEncoder, text: TextEncoder, *, dim: int) -> None:
        super().__init__()
        self.image = image
        self.text = text
        self.image_projection = linear_projection(image.dim, dim)
        self.text_projection = linear_projection(text.dim, dim)
        self.dim = dim

    def encode_images(self, pixels: Tensor) -> Tensor:
        """(B, 3, S, S) normalised pixels to (B, D)."""
        projected: Tensor = self.image_projection(self.image(pixels).pooled)
        return projected

    def encode_texts(self, tokens: Tensor, mask: Tensor) -> Tensor:
        """(B, L) tokens and mask to (B, D)."""
        projected: Tensor = self.text_projection(self.text(tokens, mask).pooled)
        return projected

    def spec(self) -> dict[str, Any]:
        """What `network_from_spec` needs."""
        return {"kind": self.kind, "dim": self.dim, "image": self.image.spec(), "text": self.text.spec()}
