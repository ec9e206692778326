"""An image encoder for each of several views of an image's color channels.

Dimensions: B batch, V views, S side in pixels, D width of the embedding.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor, nn

from likewise.encoders.color_spaces import CHANNELS, color_channels
from likewise.encoders.image import ImageEncoder
from likewise.hardware import constant
from likewise.networks.base import Network
from likewise.networks.registry import network

__all__ = ["MultiViewNetwork"]


@network("multiview")
class MultiViewNetwork(Network):
    """An image encoder for each of several subsets of an image's channels.

    Args:
        images: V image encoders of one image size.
        channels: the channels each encoder sees, such as ("L", "ab"); see `color_channels`.
    """

    def __init__(self, images: Sequence[ImageEncoder], *, channels: Sequence[str]) -> None:
        super().__init__()
        self.encoders = nn.ModuleList(images)
        self.channels = tuple(channels)
        self.dim = sum(encoder.dim for encoder in images)
        # Each encoder has three inputs, which its channels fill in turn: "ab" gives a, b, a.
        self._inputs = [
            tuple(CHANNELS.index(view[place % len(view)]) for place in range(3)) for view in self.channels
        ]

    @property
    def images(self) -> list[ImageEncoder]:
        """The V encoders."""
        return cast("list[ImageEncoder]", list(self.encoders))

    @property
    def image(self) -> ImageEncoder:
        """The first encoder, which says image size and normalization."""
        return self.images[0]

    def encode_views(self, pixels: Tensor) -> list[Tensor]:
        """(B, 3, S, S) normalized pixels to V times (B, D / V)."""
        mean = constant(tuple(self.image.mean), pixels.device).view(3, 1, 1)
        std = constant(tuple(self.image.std), pixels.device).view(3, 1, 1)
        channels = color_channels(pixels * std + mean).to(pixels.dtype)  # (B, 6, S, S)
        return [
            encoder(channels.index_select(1, constant(inputs, channels.device, torch.int64))).pooled
            for encoder, inputs in zip(self.encoders, self._inputs, strict=True)
        ]

    def encode_images(self, pixels: Tensor) -> Tensor:
        """(B, 3, S, S) normalized pixels to (B, D): the views' features at unit length, concatenated."""
        views = [nn.functional.normalize(view.float(), dim=1) for view in self.encode_views(pixels)]
        return torch.cat(views, dim=1)
