"""An image model of timm as a network of the user's own (`likewise.encoders.own`), by its name.

Dimensions: B batch, S side in pixels, N places, D width of the pooled features.
"""

from __future__ import annotations

import re
from typing import Any

import torch
from torch import Tensor, nn

from likewise.errors import ConfigError
from likewise.messages import first_line, printable

__all__ = ["TIMM", "TimmNetwork"]

TIMM = "timm:"
"""What comes before a name of timm."""

_NAME = re.compile(r"[a-z0-9_]+(\.[a-z0-9_]+)?")  # no prefix, by which timm would open a hub or a folder


class TimmNetwork(nn.Module):
    """Pixels to pooled features, and to one vector per place where these have the same width.

    Args:
        name: of the model and, behind a dot, of its weights, such as `resnet18.a1_in1k`.
        image_size: S; a Transformer's positions are interpolated to it.
        pretrained: fetch weights; else they are random.

    Raises:
        ConfigError: timm is not installed, has no such model, or none for that size, or cannot fetch it.
    """

    def __init__(self, name: str, *, image_size: int, pretrained: bool = True) -> None:
        super().__init__()
        try:
            import timm
        except ImportError as error:
            raise ConfigError(
                f"{TIMM}{printable(name, most=100)} needs timm, which cannot be imported here "
                f"({first_line(error)}): pip install 'likewise[timm]'."
            ) from error
        if not _NAME.fullmatch(name) or not timm.is_model(name):
            raise ConfigError(
                f"{TIMM}{printable(name, most=100)}: timm has no model of this name; "
                "timm.list_models(pretrained=True) lists those that it has."
            )
        try:
            self.model: Any = timm.create_model(name, pretrained=pretrained, num_classes=0)
            if hasattr(self.model, "set_input_size"):
                self.model.set_input_size(img_size=image_size)
            with torch.no_grad():
                self.model.eval()
                self.dim = int(self._features(torch.zeros(1, 3, image_size, image_size))[0].shape[1])
        except Exception as error:  # of its hub, of its checks of sizes
            raise ConfigError(f"{TIMM}{name} at {image_size} px: {first_line(error)}") from error
        self.model.train()
        self.own_name = f"{TIMM}{name}"
        self.image_size = image_size
        self.mean = tuple(self.model.pretrained_cfg["mean"])
        self.std = tuple(self.model.pretrained_cfg["std"])

    def forward(self, pixels: Tensor) -> Tensor | tuple[Tensor, Tensor]:
        """(B, 3, S, S) normalized pixels to (B, D), and (B, N, D) where every place has this width."""
        pooled, places = self._features(pixels)
        return (pooled, places) if places.shape[2] == self.dim else pooled

    def _features(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        features = self.model.forward_features(pixels)
        pooled = self.model.forward_head(features)
        if features.dim() == 4:
            if getattr(self.model, "output_fmt", "NCHW") != "NHWC":
                features = features.permute(0, 2, 3, 1)
            features = features.flatten(1, 2)
        return pooled, features[:, getattr(self.model, "num_prefix_tokens", 0) :]
