"""An image encoder and a decoder that writes its captions.

Dimensions: B batch, S side in pixels, N image tokens, L tokens of a caption.
"""

from __future__ import annotations

from torch import Tensor

from likewise.encoders.decoders import Candidates, Decoder, Decoding, Memory, generate
from likewise.encoders.image import ImageEncoder
from likewise.networks.base import Network
from likewise.networks.registry import network

__all__ = ["CaptionNetwork"]


@network("captioner")
class CaptionNetwork(Network):
    """An image encoder whose tokens a decoder reads.

    Args:
        image: the image encoder.
        decoder: writes the captions.
    """

    def __init__(self, image: ImageEncoder, decoder: Decoder) -> None:
        super().__init__()
        self.image, self.decoder = image, decoder
        self.dim = image.dim

    def image_memory(self, pixels: Tensor) -> Memory:
        """What the decoder reads of (B, 3, S, S) normalized pixels."""
        features = self.image(pixels)
        return Memory(features.tokens, features.pooled)

    def caption(
        self, pixels: Tensor, *, begin_id: int, end_id: int, decoding: Decoding, index: Tensor | None = None
    ) -> Candidates:
        """Captions of (B, 3, S, S) normalized pixels; see `generate`."""
        memory = self.image_memory(pixels)
        return generate(
            self.decoder, memory, begin_id=begin_id, end_id=end_id, decoding=decoding, index=index
        )

    def caption_attention(self, pixels: Tensor, tokens: Tensor) -> Tensor | None:
        """Where the decoder looks when it writes each token.

        Args:
            pixels: (B, 3, S, S), normalized.
            tokens: (B, L) captions from their begin token on.

        Returns:
            (B, L - 1, N), for the tokens after the first; None for a decoder without attention.
        """
        memory = self.image_memory(pixels)
        looked: Tensor | None = self.decoder(tokens[:, :-1], memory, with_attention=True).attention
        return looked
