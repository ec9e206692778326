"""Judges a statement about two images.

Dimensions: B batch, S side in pixels, L tokens, N patches, C classes.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from likewise.encoders.fusion import FusionEncoder
from likewise.encoders.image import ImageEncoder
from likewise.encoders.text import TextEncoder
from likewise.encoders.two_image_fusion import SecondBlocks, fuse_two_images
from likewise.networks.base import Network
from likewise.networks.fused_states import class_head, image_tokens, leaves, text_tokens
from likewise.networks.registry import network

__all__ = ["PairReasoner"]


@network("pair_reasoner")
class PairReasoner(Network):
    """An image and a text encoder, and fusion layers of two blocks each, one for either image.

    Args:
        image: the image encoder, of both images.
        text: the lower layers of a BERT.
        fusion: the blocks that attend to the first image; the others start as their copies.
        classes: names of the C classes.
    """

    def __init__(
        self, image: ImageEncoder, text: TextEncoder, fusion: FusionEncoder, *, classes: Sequence[str]
    ) -> None:
        super().__init__()
        self.image, self.text, self.fusion = image, text, fusion
        self.second = SecondBlocks(fusion)
        self.classes = list(classes)
        self.head = class_head(text.dim, len(self.classes))
        self.dim = text.dim

    def compare(self, pixels: Tensor, pixels_2: Tensor, tokens: Tensor, mask: Tensor) -> Tensor:
        """Logits of statements about pairs of images.

        Args:
            pixels: (B, 3, S, S) normalized, the first or left images.
            pixels_2: (B, 3, S, S), the second or right ones.
            tokens: (B, L) of the statements.
            mask: (B, L).

        Returns:
            (B, C).
        """
        return self._fuse(pixels, pixels_2, tokens, mask, layer=None)[0]

    def compare_attention(
        self, pixels: Tensor, pixels_2: Tensor, tokens: Tensor, mask: Tensor, *, layer: int
    ) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        """`compare`, and a fusion layer's (B, H, L, 1 + N) attention to either image, with its graph."""
        logits, weights = self._fuse(pixels, pixels_2, tokens, mask, layer=layer)
        assert weights is not None
        return logits, weights

    def _fuse(
        self, pixels: Tensor, pixels_2: Tensor, tokens: Tensor, mask: Tensor, *, layer: int | None
    ) -> tuple[Tensor, tuple[Tensor, Tensor] | None]:
        states = text_tokens(self.text, tokens, mask)
        images = image_tokens(self.image, torch.cat([pixels, pixels_2]))
        if layer is not None:
            states, images = leaves(states, images)
        first, second = images.chunk(2)
        fused, weights = fuse_two_images(self.fusion, self.second, states, mask, (first, second), layer=layer)
        return self.head(fused[:, 0]), weights
