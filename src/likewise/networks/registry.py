"""Builds a network again from its `spec`."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from likewise.encoders.image import ImageEncoder
from likewise.encoders.text import TextEncoder
from likewise.errors import ModelError
from likewise.networks.dual import DualNetwork
from likewise.networks.fusion import FusionNetwork
from likewise.networks.image import ImageNetwork
from likewise.networks.multiview import MultiViewNetwork

__all__ = ["image_spec", "network_from_spec"]


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
