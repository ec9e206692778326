"""Judges a statement about two images.

Dimensions: B batch, S side in pixels, L tokens, N patches, C classes.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

import torch
from torch import Tensor

from likewise.encoders.fusion import FusionEncoder
from likewise.encoders.image import ImageEncoder
from likewise.encoders.text import TextEncoder
from likewise.encoders.two_image_fusion import SecondImage, fuse_two_images
from likewise.networks.base import Network
from likewise.networks.fused_states import checked_names, class_head, image_tokens, leaves, text_tokens
from likewise.networks.registry import network

__all__ = ["ASSIGNMENTS", "PairReasoner"]

ASSIGNMENTS = ("first", "second", "neither")
"""Classes of a network that says which of two images a text belongs to (Li 2021, arXiv 2107.07651)."""


@network("pair_reasoner")
class PairReasoner(Network):
    """An image and a text encoder, and fusion layers that attend to two images each.

    Args:
        image: the image encoder, of both images.
        text: the lower layers of a BERT.
        fusion: attends to the first image; what attends to the second starts as its copy.
        classes: names of the C classes.
    """

    def __init__(
        self, image: ImageEncoder, text: TextEncoder, fusion: FusionEncoder, *, classes: Sequence[str]
    ) -> None:
        super().__init__()
        self.image, self.text, self.fusion = image, text, fusion
        self.second = SecondImage(fusion)
        self.classes = checked_names(classes)
        self.head = class_head(text.dim, len(self.classes))
        self.dim = text.dim

    def start_rest(self, loaded: Collection[str]) -> None:
        """The attention to both images starts from the same weights."""
        if "fusion" in loaded:
            self.second.start_from(self.fusion)

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
        first, second = self.image_states(torch.cat([pixels, pixels_2])).chunk(2)
        return self.compare_states(first, second, tokens, mask)

    def image_states(self, pixels: Tensor) -> Tensor:
        """(B, 3, S, S) normalized pixels to (B, 1 + N, E): the pooled token, then one per patch."""
        return image_tokens(self.image, pixels)

    def compare_states(self, first: Tensor, second: Tensor, tokens: Tensor, mask: Tensor) -> Tensor:
        """`compare` of images that are encoded already: twice (B, 1 + N, E) to (B, C)."""
        states = text_tokens(self.text, tokens, mask)
        fused, _ = fuse_two_images(self.fusion, self.second, states, mask, (first, second))
        logits: Tensor = self.head(fused[:, 0])
        return logits

    def compare_attention(
        self, pixels: Tensor, pixels_2: Tensor, tokens: Tensor, mask: Tensor, *, layer: int
    ) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        """`compare`, and a fusion layer's (B, H, L, 1 + N) attention to either image, with its graph."""
        with torch.no_grad():
            both = self.image_states(torch.cat([pixels, pixels_2]))
            states, images = leaves(text_tokens(self.text, tokens, mask), both)
        first, second = images.chunk(2)
        fused, weights = fuse_two_images(self.fusion, self.second, states, mask, (first, second), layer=layer)
        assert weights is not None
        return self.head(fused[:, 0]), weights
