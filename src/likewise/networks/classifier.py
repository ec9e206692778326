"""An image encoder with a bottleneck and a classifier.

Dimensions: B batch, S side in pixels, D width of the bottleneck, C classes.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from likewise.encoders.image import ImageEncoder
from likewise.networks.base import Network
from likewise.networks.registry import network

__all__ = ["ClassifierNetwork"]


@network("classifier")
class ClassifierNetwork(Network):
    """An image encoder whose features a linear layer classifies.

    Args:
        image: the encoder.
        classes: names of the C classes.
        dim: D, width of the bottleneck: linear, BatchNorm, ReLU (Long 2018, arXiv 1705.10667, section 5).
    """

    def __init__(self, image: ImageEncoder, *, classes: Sequence[str], dim: int) -> None:
        super().__init__()
        self.image = image
        self.classes = tuple(classes)
        self.dim = dim
        self.bottleneck = nn.Sequential(
            nn.Linear(image.dim, dim, bias=False), nn.BatchNorm1d(dim), nn.ReLU(inplace=True)
        )
        self.classifier = nn.Linear(dim, len(self.classes))

    def class_names(self) -> tuple[str, ...]:
        """The C classes."""
        return self.classes

    def encode_images(self, pixels: Tensor) -> Tensor:
        """(B, 3, S, S) normalized pixels to (B, D) features."""
        features: Tensor = self.bottleneck(self.image(pixels).pooled)
        return features

    def classify_images(self, pixels: Tensor) -> Tensor:
        """(B, 3, S, S) normalized pixels to (B, C) logits."""
        logits: Tensor = self.classifier(self.encode_images(pixels))
        return logits
