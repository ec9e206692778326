"""An image encoder for each of several views of an image's channels.

Dimensions: B batch, V views, S side in pixels, D width of the embedding.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from likewise.encoders.color_spaces import CHANNELS, picture_channels
from likewise.encoders.image import ImageEncoder
from likewise.hardware import constant

__all__ = ["MultiViewNetwork"]


class MultiViewNetwork(nn.Module):
    """An image encoder for each of several views that lie in a picture's channels.

    Args:
        encoders: V image encoders of one size.
        channels: what each sees, such as ("L", "ab"); see `colour_channels`.
    """

    kind = "multiview"

    def __init__(self, encoders: Sequence[ImageEncoder], *, channels: Sequence[str]) -> None:
        super().__init__()
        self.encoders = nn.ModuleList(encoders)
        self.channels = tuple(channels)
        self.dim = sum(encoder.dim for encoder in encoders)
        # The channels each encoder's three inputs take, in turn: "ab" sees a, b, a.
        self._places = [
            tuple(CHANNELS.index(view[place % len(view)]) for place in range(3)) for view in self.channels
        ]

    @property
    def image(self) -> ImageEncoder:
        """The encoder that says size and normalisation."""
        first = self.encoders[0]
        assert isinstance(first, ImageEncoder)
        return first

    def encode_views(self, pixels: Tensor) -> list[Tensor]:
        """(B, 3, S, S) normalised pixels to V times (B, D / V)."""
        mean = constant(tuple(self.image.mean), pixels.device).view(3, 1, 1)
        std = constant(tuple(self.image.std), pixels.device).view(3, 1, 1)
        channels = picture_channels(pixels * std + mean).to(pixels.dtype)  # (B, 6, S, S)
        return [
            encoder(channels.index_select(1, constant(places, channels.device, torch.int64))).pooled
            for encoder, places in zip(self.encoders, self._places, strict=True)
        ]

    def encode_images(self, pixels: Tensor) -> Tensor:
        """(B, 3, S, S) normalised pixels to (B, D): the views' features at unit length, side by side."""
        views = [nn.functional.normalize(view.float(), dim=1) for view in self.encode_views(pixels)]
        return torch.cat(views, dim=1)

    def spec(self) -> dict[str, Any]:
        """What `network_from_spec` needs."""
        images = [encoder.spec() for encoder in self.encoders if isinstance(encoder, ImageEncoder)]
        return {"kind": self.kind, "channels": list(self.channels), "images": images}
