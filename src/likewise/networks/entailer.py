"""Judges a statement about an image: true or false; entailment, neutral or contradiction.

Dimensions: B batch, S side in pixels, L tokens, N patches, C classes, F width of the text encoder.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from likewise.encoders.fusion import FusionEncoder
from likewise.encoders.image import ImageEncoder
from likewise.encoders.text import TextEncoder
from likewise.networks.base import Network
from likewise.networks.fused_states import checked_names, class_head, image_tokens, leaves, text_tokens
from likewise.networks.registry import network

__all__ = ["EntailmentNetwork"]


@network("entailer")
class EntailmentNetwork(Network):
    """A fusion encoder above an image and a text encoder, and a classifier of its [CLS].

    Args:
        image: the image encoder.
        text: the lower layers of a BERT.
        fusion: layers with cross-attention.
        classes: names of the C classes.
    """

    def __init__(
        self, image: ImageEncoder, text: TextEncoder, fusion: FusionEncoder, *, classes: Sequence[str]
    ) -> None:
        super().__init__()
        self.image, self.text, self.fusion = image, text, fusion
        self.classes = checked_names(classes)
        self.head = class_head(text.dim, len(self.classes))
        self.dim = text.dim

    def entail(self, pixels: Tensor, tokens: Tensor, mask: Tensor) -> Tensor:
        """(B, 3, S, S) normalized pixels, (B, L) tokens and mask of statements to (B, C) logits."""
        states = text_tokens(self.text, tokens, mask)
        fused = self.fusion.read(states, mask, image_tokens(self.image, pixels))[0]  # (B, F)
        logits: Tensor = self.head(fused)
        return logits

    def entail_attention(
        self, pixels: Tensor, tokens: Tensor, mask: Tensor, *, layer: int
    ) -> tuple[Tensor, tuple[Tensor]]:
        """`entail`, and a fusion layer's (B, H, L, 1 + N) attention to the image, with its graph."""
        with torch.no_grad():
            states = leaves(text_tokens(self.text, tokens, mask), image_tokens(self.image, pixels))
        fused, weights = self.fusion.with_attention(states[0], mask, states[1], layer=layer)
        return self.head(fused[:, 0]), (weights,)
