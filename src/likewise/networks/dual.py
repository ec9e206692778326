"""An image and a text encoder with one shared space.

Dimensions: B batch, L tokens, D width of the shared space.
"""

from __future__ import annotations

from torch import Tensor, nn

from likewise.encoders.image import ImageEncoder
from likewise.encoders.text import TextEncoder
from likewise.networks.registry import network
from likewise.networks.two_towers import TwoTowers

__all__ = ["DualNetwork"]


@network("dual")
class DualNetwork(TwoTowers):
    """An image encoder (or an audio encoder in its place) and a text encoder; see `TwoTowers`."""

    text: TextEncoder
    text_projection: nn.Module

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
        towers = {"image": image, "text": text}
        super().__init__(towers, dim=dim, projected=projected, temperature=temperature, bias=bias)

    def encode_audio(self, spectrograms: Tensor) -> Tensor:
        """(B, 1, M, F) spectrograms to (B, D), by the first encoder."""
        return self.encode_images(spectrograms)

    def encode_texts(self, tokens: Tensor, mask: Tensor) -> Tensor:
        """(B, L) tokens and mask to (B, D)."""
        projected: Tensor = self.text_projection(self.text(tokens, mask).pooled)
        return projected
