"""The abilities a network can have, as protocols; listed once, here.

The protocols name what stands on the class alone: since Python 3.12 `isinstance` does not see the submodules
of an `nn.Module`.

Dimensions: B batch, S side in pixels, L tokens, D width of the embedding.
"""

from __future__ import annotations

from typing import Protocol, runtime_checkable

from torch import Tensor

from likewise.encoders.fusion import Pairing

__all__ = ["EncodesImages", "EncodesTexts", "MatchesPairs"]


@runtime_checkable
class EncodesImages(Protocol):
    """The ability to turn pixels into vectors; such a network has its encoder as `image`."""

    def encode_images(self, pixels: Tensor) -> Tensor:
        """(B, 3, S, S) normalised pixels to (B, D) vectors, not of unit length."""


@runtime_checkable
class EncodesTexts(Protocol):
    """The ability to turn texts into vectors; such a network has its encoder as `text`."""

    def encode_texts(self, tokens: Tensor, mask: Tensor) -> Tensor:
        """(B, L) tokens and mask to (B, D) vectors, not of unit length."""


@runtime_checkable
class MatchesPairs(Protocol):
    """The ability to judge whether a text belongs to a picture."""

    def image_states(self, pixels: Tensor) -> Tensor:
        """(B, 3, S, S) normalised pixels to (B, N, E) tokens."""

    def text_states(self, tokens: Tensor, mask: Tensor) -> Tensor:
        """(B, L) tokens and mask to (B, L, F)."""

    @property
    def temperature(self) -> Tensor:
        """(), what cosines in the shared space are divided by."""

    def project(self, image_states: Tensor, text_states: Tensor) -> tuple[Tensor, Tensor]:
        """States of N pictures (N, 1 or more, E) and of M texts (M, 1 or more, F) to unit vectors (N, D) and
        (M, D) of the shared space; their first tokens alone are read."""

    def match_logits(
        self, text_states: Tensor, mask: Tensor, image_states: Tensor, pairing: Pairing | None = None
    ) -> Tensor:
        """(P, L, F), (P, L) and (M, N, E) to (P, 2); class 1 is "they belong together"."""
