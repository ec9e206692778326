"""The last feature map of an image encoder, for Grad-CAM.

Dimensions: B batch, N patches, D width of the features, g side of the map.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from torch import Tensor, nn

from likewise.encoders.image import ImageEncoder
from likewise.encoders.own import OwnBackbone
from likewise.errors import AbilityError

__all__ = ["feature_map_of", "kept_features"]


@contextmanager
def kept_features(encoder: ImageEncoder) -> Iterator[list[Tensor]]:
    """Inside, each forward pass of this thread leaves the features that `feature_map_of` reads, with graph.

    Of a convolutional network the last feature map. Of a Transformer the tokens that enter the last layer:
    of those that leave it, pooling by [CLS] reads none.
    """
    kept: list[Tensor] = []
    own = threading.get_ident()  # another thread may run the same encoder meanwhile

    def keep(features: Tensor) -> None:
        if threading.get_ident() == own:
            kept.append(features)

    backbone: Any = encoder.backbone
    if isinstance(backbone, OwnBackbone):
        raise AbilityError(
            f"{backbone.config.name}, a network of the user's own, has no layer that is known."
        )
    if encoder.convolutional:
        hook = backbone.register_forward_hook(lambda _, inputs, output: keep(output.last_hidden_state))
    else:
        hook = _last_layer(backbone).register_forward_pre_hook(
            lambda _, inputs, named: keep(inputs[0] if inputs else named["hidden_states"]), with_kwargs=True
        )
    try:
        yield kept
    finally:
        hook.remove()


def feature_map_of(encoder: ImageEncoder, features: Tensor) -> Tensor:
    """What `kept_features` left, or its gradient, as (B, D, g, g)."""
    if encoder.convolutional:
        return features
    patches = features[:, encoder.num_prefix_tokens :]  # (B, N, D)
    side = math.isqrt(patches.shape[1])
    return patches.transpose(1, 2).reshape(len(patches), -1, side, side)


def _last_layer(backbone: Any) -> nn.Module:
    """The last layer of a Transformer, which the families of transformers name differently."""
    depth = backbone.config.num_hidden_layers
    lists = (part for part in backbone.modules() if isinstance(part, nn.ModuleList))
    return next(layers for layers in lists if len(layers) == depth)[-1]
