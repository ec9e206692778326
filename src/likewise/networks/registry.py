"""Networks that are kept after training: what a model folder holds and `likewise.load` builds again.

A network knows what it can do by which of `encode_images` and `encode_texts` it has; a method trains one
and has it as its `network`. The protocols of abilities name what stands on the class alone: since Python 3.12
`isinstance` does not see the submodules of an `nn.Module`.

Dimensions: B batch, S side in pixels, L tokens, D width of the embedding.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from likewise.encoders.color_spaces import CHANNELS, picture_channels
from likewise.encoders.fusion import Pairing
from likewise.encoders.heads import linear_projection
from likewise.encoders.image import ImageEncoder
from likewise.encoders.text import TextEncoder
from likewise.errors import ModelError
from likewise.hardware import constant
from likewise.networks.fusion import FusionNetwork

__all__ = [
    "DualNetwork",
    "EncodesImages",
    "EncodesTexts",
    "ImageNetwork",
    "MatchesPairs",
    "MultiViewNetwork",
    "image_spec",
    "network_from_spec",
]


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


class ImageNetwork(nn.Module):
    """One image encoder; its pooled features are the embedding (projectors are for training only).

    Args:
        image: the encoder.
        dim: D, of a linear map of the pooled features which is the embedding then; None for the features.
    """

    kind = "image"

    def __init__(self, image: ImageEncoder, *, dim: int | None = None) -> None:
        super().__init__()
        self.image = image
        self.projection = None if dim is None else linear_projection(image.dim, dim)
        self.dim = dim or image.dim

    def encode_images(self, pixels: Tensor) -> Tensor:
        """(B, 3, S, S) normalised pixels to (B, D)."""
        pooled: Tensor = self.image(pixels).pooled
        return pooled if self.projection is None else self.projection(pooled)

    forward = encode_images

    def spec(self) -> dict[str, Any]:
        """What `network_from_spec` needs."""
        own = {} if self.projection is None else {"dim": self.dim}
        return {"kind": self.kind, "image": self.image.spec(), **own}


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


class DualNetwork(nn.Module):
    """An image and a text encoder with one linear projection each into a shared space.

    Args:
        image: the image encoder.
        text: the text encoder.
        dim: D, width of the shared space.
    """

    kind = "dual"

    def __init__(self, image: ImageEncoder, text: TextEncoder, *, dim: int) -> None:
        super().__init__()
        self.image = image
        self.text = text
        self.image_projection = linear_projection(image.dim, dim)
        self.text_projection = linear_projection(text.dim, dim)
        self.dim = dim

    def encode_images(self, pixels: Tensor) -> Tensor:
        """(B, 3, S, S) normalised pixels to (B, D)."""
        projected: Tensor = self.image_projection(self.image(pixels).pooled)
        return projected

    def encode_texts(self, tokens: Tensor, mask: Tensor) -> Tensor:
        """(B, L) tokens and mask to (B, D)."""
        projected: Tensor = self.text_projection(self.text(tokens, mask).pooled)
        return projected

    def spec(self) -> dict[str, Any]:
        """What `network_from_spec` needs."""
        return {"kind": self.kind, "dim": self.dim, "image": self.image.spec(), "text": self.text.spec()}


def image_spec(spec: dict[str, Any]) -> dict[str, Any]:
    """Of a network's `spec` that of its image encoder; those of several views are made alike."""
    found: dict[str, Any] = spec["images"][0] if "images" in spec else spec["image"]
    return found


def network_from_spec(spec: dict[str, Any]) -> nn.Module:
    """Build a network from its `spec`, with fresh weights.

    Raises:
        ModelError: the spec is of a kind this version does not know, or lacks a part.
    """
    try:
        # Weights are about to be loaded: leave the caller's stream alone.
        with torch.random.fork_rng(devices=[]):
            if spec["kind"] == ImageNetwork.kind:
                return ImageNetwork(ImageEncoder.from_spec(spec["image"]), dim=spec.get("dim"))
            if spec["kind"] == MultiViewNetwork.kind:
                encoders = [ImageEncoder.from_spec(one) for one in spec["images"]]
                return MultiViewNetwork(encoders, channels=spec["channels"])
            if spec["kind"] == FusionNetwork.kind:
                return FusionNetwork.from_spec(spec)
            if spec["kind"] == DualNetwork.kind:
                image, text = ImageEncoder.from_spec(spec["image"]), TextEncoder.from_spec(spec["text"])
                return DualNetwork(image, text, dim=spec["dim"])
    except KeyError as error:
        raise ModelError(f"the model's config.json lacks {error}.") from error
    except (TypeError, ValueError, AttributeError) as error:
        raise ModelError(f"no network can be built from the model's config.json: {error}") from error
    raise ModelError(
        f"the model is of kind {spec['kind']!r}, which this version does not know (image, multiview, dual, "
        "fusion); try a newer version of likewise."
    )
