"""What networks with fusion layers share: the tokens that these layers read, and a classifier above them.

Dimensions: B batch, S side in pixels, L tokens, N patches, E, F widths of the encoders, C classes.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from likewise.encoders.image import ImageEncoder
from likewise.encoders.text import TextEncoder
from likewise.errors import ModelError

__all__ = ["checked_names", "class_head", "image_tokens", "leaves", "text_tokens"]


def image_tokens(encoder: ImageEncoder, pixels: Tensor) -> Tensor:
    """(B, 3, S, S) normalized pixels to (B, 1 + N, E): the pooled token, then one per patch."""
    features = encoder(pixels)
    return torch.cat([features.pooled[:, None], features.tokens], dim=1)


def text_tokens(encoder: TextEncoder, tokens: Tensor, mask: Tensor) -> Tensor:
    """(B, L) tokens and mask to (B, L, F), [CLS] first."""
    states: Tensor = encoder(tokens, mask).tokens
    return states


def class_head(dim: int, num_classes: int) -> nn.Sequential:
    """The classifier of a fused [CLS]: linear, ReLU, linear, as in ALBEF's and TCL's code."""
    return nn.Sequential(nn.Linear(dim, dim), nn.ReLU(), nn.Linear(dim, num_classes))


def leaves(*states: Tensor) -> tuple[Tensor, ...]:
    """The same states as the start of a graph, so that attention has gradients even if all weights are
    frozen. The encoders before them need no graph, whose memory is most of what there is."""
    return tuple(state.detach().requires_grad_() for state in states)


def checked_names(classes: Sequence[str]) -> list[str]:
    """Names of classes.

    Raises:
        ModelError: they are not two or more texts, as in a damaged config.json.
    """
    if not isinstance(classes, (list, tuple)) or not all(isinstance(name, str) for name in classes):
        raise ModelError("the network's classes are not a list of texts.")
    if len(classes) < 2 or len(set(classes)) < len(classes):
        raise ModelError("the network's classes are not two or more different texts.")
    return list(classes)
