"""One text encoder. Dimensions: B batch, L tokens, D width of the embedding."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from likewise.encoders.heads import linear_projection
from likewise.encoders.text import TextEncoder
from likewise.networks.base import Network
from likewise.networks.registry import network

__all__ = ["TextNetwork"]


@network("text")
class TextNetwork(Network):
    """One text encoder; its pooled features are the embedding.

    Args:
        text: the encoder.
        dim: D, width of a linear projection of the features; None to use the features themselves.
    """

    def __init__(self, text: TextEncoder, *, dim: int | None = None) -> None:
        super().__init__()
        self.text = text
        self.projection = None if dim is None else linear_projection(text.dim, dim)
        self.dim = dim or text.dim

    def encode_texts(self, tokens: Tensor, mask: Tensor) -> Tensor:
        """(B, L) tokens and mask to (B, D)."""
        pooled: Tensor = self.text(tokens, mask).pooled
        return pooled if self.projection is None else self.projection(pooled)

    forward = encode_texts

    def spec(self) -> dict[str, Any]:
        """See `Network.spec`; `dim` is that of the projection, if there is one."""
        spec = super().spec()
        if self.projection is None:
            del spec["dim"]
        return spec
