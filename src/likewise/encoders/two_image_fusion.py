"""Fusion with two images: each fusion layer becomes two blocks, one for either image.

Li et al. 2021, arXiv 2107.07651, section 5.1 (NLVR2). Dimensions: P triples of a text and two images, L
tokens, N image tokens, D width, H heads.
"""

from __future__ import annotations

import copy
from typing import Any

from torch import Tensor, nn

from likewise.encoders.fusion import FusionEncoder, fuse_with_attention

__all__ = ["SecondBlocks", "fuse_two_images"]

_SHARED = ("key", "value")


class SecondBlocks(nn.Module):
    """A copy of each layer of a fusion encoder, to attend to a second image.

    The copies have no maps of keys and values: those of the fusion encoder serve both images.

    Args:
        fusion: is copied, and stays as it is.
    """

    def __init__(self, fusion: FusionEncoder) -> None:
        super().__init__()
        self.layers = copy.deepcopy(fusion.layers)
        for layer in self.layers:
            attention: Any = layer.crossattention
            for name in _SHARED:
                delattr(attention.self, name)

    def start_from(self, fusion: FusionEncoder) -> None:
        """Take the weights of a fusion encoder of the same form."""
        weights = fusion.layers.state_dict()
        self.layers.load_state_dict({name: weights[name] for name in self.layers.state_dict()})


def fuse_two_images(
    fusion: FusionEncoder,
    second: SecondBlocks,
    text_states: Tensor,
    mask: Tensor,
    images: tuple[Tensor, Tensor],
    *,
    layer: int | None = None,
) -> tuple[Tensor, tuple[Tensor, Tensor] | None]:
    """Fuse texts with two images each: in every layer first with the one, then with the other.

    Args:
        fusion: the blocks that attend to the first images.
        second: those that attend to the second ones.
        text_states: (P, L, D) of the text encoder.
        mask: (P, L) bool; each text's first token is real.
        images: (P, N, D') twice.
        layer: index of a layer whose attention is returned, counted from the end when negative.

    Returns:
        (P, L, D), zeros at padding, and twice (P, H, L, N) attention weights of the layer, with their graph.
    """
    first_states, second_states = (fusion.bridge(one) for one in images)
    wanted, weights = None if layer is None else range(len(fusion.layers))[layer], None
    for place, (block, other) in enumerate(zip(fusion.layers, second.layers, strict=True)):
        text_states, to_first = fuse_with_attention(block, text_states, mask, first_states)
        text_states, to_second = fuse_with_attention(other, text_states, mask, second_states, keys_of=block)
        if place == wanted:
            weights = to_first, to_second
    return text_states * mask[:, :, None], weights
