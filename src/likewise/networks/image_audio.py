"""An image and an audio encoder with one shared space.

Dimensions: B batch, M mel bands, F frames, D width of the shared space.
"""

from __future__ import annotations

from torch import Tensor, nn

from likewise.encoders.audio.encoder import AudioEncoder
from likewise.encoders.image import ImageEncoder
from likewise.networks.registry import network
from likewise.networks.two_towers import TwoTowers

__all__ = ["ImageAudioNetwork"]


@network("image-audio")
class ImageAudioNetwork(TwoTowers):
    """An image encoder and an audio encoder; see `TwoTowers`."""

    audio: AudioEncoder
    audio_projection: nn.Module

    def __init__(
        self,
        image: ImageEncoder,
        audio: AudioEncoder,
        *,
        dim: int,
        projected: bool = True,
        temperature: float | None = None,
        bias: float | None = None,
    ) -> None:
        towers = {"image": image, "audio": audio}
        super().__init__(towers, dim=dim, projected=projected, temperature=temperature, bias=bias)

    def encode_audio(self, spectrograms: Tensor) -> Tensor:
        """(B, 1, M, F) spectrograms to (B, D)."""
        projected: Tensor = self.audio_projection(self.audio(spectrograms).pooled)
        return projected
