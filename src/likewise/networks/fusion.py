"""The network of TCL: it embeds images and texts and matches pairs of them.

Dimensions: B batch, P pairs, L tokens, N patches, D width of the shared space, E, F widths of the encoders.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from likewise.encoders.fusion import FusionEncoder, cut_fusion
from likewise.encoders.heads import LanguageHead
from likewise.encoders.image import ImageEncoder
from likewise.encoders.pairing import Pairing
from likewise.encoders.text import TextEncoder
from likewise.networks.base import Network
from likewise.networks.fused_states import image_tokens, leaves, text_tokens
from likewise.networks.registry import network

__all__ = ["FusionNetwork"]


@network("fusion")
class FusionNetwork(Network):
    """An image encoder, a text encoder, and a fusion encoder on top of both.

    Args:
        image: the image encoder.
        text: the lower half of a BERT.
        fusion: the upper half, with cross-attention.
        dim: D, width of the shared space of images and texts.
        vocabulary_size: of the masked-language-modeling head.
    """

    def __init__(
        self,
        image: ImageEncoder,
        text: TextEncoder,
        fusion: FusionEncoder,
        *,
        dim: int,
        vocabulary_size: int,
    ) -> None:
        super().__init__()
        self.image, self.text, self.fusion = image, text, fusion
        self.image_projection = nn.Linear(image.dim, dim)
        self.text_projection = nn.Linear(text.dim, dim)
        self.match_head = nn.Linear(text.dim, 2)
        self.language_head = LanguageHead(text.dim, vocabulary_size, eps=fusion.config.layer_norm_eps)
        # Deviation from TCL's code, which learns the temperature itself: Adam's steps are about the learning
        # rate's size whatever the gradient's, and at 1e-3 they carry 0.07 to its bound within 100 steps.
        self.log_temperature = nn.Parameter(torch.tensor(math.log(0.07)))
        self.dim = dim
        self.vocabulary_size = vocabulary_size

    @property
    def temperature(self) -> Tensor:
        """(), the divisor of cosines in the shared space."""
        return self.log_temperature.exp()

    @classmethod
    def build(
        cls,
        image: ImageEncoder,
        text: TextEncoder,
        *,
        fusion_depth: int | None,
        dim: int,
        vocabulary_size: int,
        temperature: float = 0.07,
    ) -> FusionNetwork:
        """From an image encoder and a whole BERT, which is split in two; `temperature` is the first one."""
        fusion = cut_fusion(
            text, depth=fusion_depth, image_dim=image.dim, image_positions=image.convolutional
        )
        made = cls(image, text, fusion, dim=dim, vocabulary_size=vocabulary_size)
        nn.init.constant_(made.log_temperature, math.log(temperature))
        return made

    def image_states(self, pixels: Tensor) -> Tensor:
        """(B, 3, S, S) normalized pixels to (B, 1 + N, E): the pooled token, then one per patch."""
        return image_tokens(self.image, pixels)

    def text_states(self, tokens: Tensor, mask: Tensor) -> Tensor:
        """(B, L) tokens and mask to (B, L, F), [CLS] first."""
        return text_tokens(self.text, tokens, mask)

    def project(self, image_states: Tensor, text_states: Tensor) -> tuple[Tensor, Tensor]:
        """States of N images (N, 1 or more, E) and of M texts (M, 1 or more, F) to unit vectors (N, D) and
        (M, D) of the shared space; only the first token of each is used."""
        images, texts = self.image_projection(image_states[:, 0]), self.text_projection(text_states[:, 0])
        return nn.functional.normalize(images.float(), dim=1), nn.functional.normalize(texts.float(), dim=1)

    def encode_images(self, pixels: Tensor) -> Tensor:
        """(B, 3, S, S) normalized pixels to (B, D)."""
        projected: Tensor = self.image_projection(self.image(pixels).pooled)
        return projected

    def encode_texts(self, tokens: Tensor, mask: Tensor) -> Tensor:
        """(B, L) tokens and mask to (B, D)."""
        projected: Tensor = self.text_projection(self.text_states(tokens, mask)[:, 0])
        return projected

    def fuse(
        self, text_states: Tensor, mask: Tensor, image_states: Tensor, pairing: Pairing | None = None
    ) -> Tensor:
        """(P, L, F), (P, L) and (M, 1 + N, E) to (P, L, F); see `Pairing`."""
        fused: Tensor = self.fusion(text_states, mask, image_states, pairing)
        return fused

    def match_logits(
        self, text_states: Tensor, mask: Tensor, image_states: Tensor, pairing: Pairing | None = None
    ) -> Tensor:
        """(P, L, F), (P, L) and (M, 1 + N, E) to (P, 2); class 1 is "they belong together"; see `Pairing`."""
        logits: Tensor = self.match_head(self.fusion.read(text_states, mask, image_states, pairing)[0])
        return logits

    def ground_attention(
        self, pixels: Tensor, tokens: Tensor, mask: Tensor, *, layer: int
    ) -> tuple[Tensor, tuple[Tensor]]:
        """(B, 3, S, S) normalized pixels, (B, L) tokens and mask to the match's (B, 2) logits, and a fusion
        layer's (B, H, L, 1 + N) attention to the image, with its graph."""
        with torch.no_grad():
            states = leaves(self.text_states(tokens, mask), self.image_states(pixels))
        fused, weights = self.fusion.with_attention(states[0], mask, states[1], layer=layer)
        return self.match_head(fused[:, 0]), (weights,)

    def word_logits(self, states: Tensor) -> Tensor:
        """(M, F) fused states of masked tokens to (M, V)."""
        words: Tensor = self.text.backbone.get_input_embeddings().weight
        if len(words) > self.vocabulary_size:  # some pre-trained vocabularies are padded to a round size
            words = words[: self.vocabulary_size]
        logits: Tensor = self.language_head(states, words)
        return logits
