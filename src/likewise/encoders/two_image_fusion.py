"""Fusion with two images: the tokens of a text attend to both in every layer.

Li et al. 2022, arXiv 2201.12086, section 5.4 (BLIP); keys and values shared as in Li et al. 2021, arXiv
2107.07651, section 5.1 (ALBEF). Dimensions: P triples of a text and two images, L tokens, N image tokens, D
width, H heads.
"""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor, nn

from likewise.encoders.fusion import FusionEncoder, attend_to_image, feed_forward

__all__ = ["SecondImage", "fuse_two_images"]


class SecondImage(nn.Module):
    """What a fusion encoder needs beside its own weights to attend to a second image.

    Each layer gets a second map of queries and a second output map, which start as copies. The maps of keys
    and values serve both images. The lower half of the layers averages what was read from the two images. In
    the upper half a linear layer maps both to one vector, and can tell them apart.

    Deviation from ALBEF and TCL, where each layer becomes two whole blocks, one after the other: between them
    the states are not what the layers were trained on, and what a pre-training learned is lost.

    Args:
        fusion: is copied, and stays as it is.
    """

    def __init__(self, fusion: FusionEncoder) -> None:
        super().__init__()
        attentions: list[Any] = [layer.crossattention for layer in fusion.layers]
        self.query = nn.ModuleList(copy.deepcopy(one.self.query) for one in attentions)
        self.output = nn.ModuleList(copy.deepcopy(one.output.dense) for one in attentions)
        dim = fusion.config.hidden_size
        self.merge = nn.ModuleList(
            nn.Linear(2 * dim, dim) for _ in range(len(attentions) // 2, len(attentions))
        )
        for layer in self.merge:
            assert isinstance(layer, nn.Linear)
            nn.init.normal_(layer.weight, std=fusion.config.initializer_range)
            nn.init.zeros_(layer.bias)

    def start_from(self, fusion: FusionEncoder) -> None:
        """Take the weights of a fusion encoder of the same form."""
        for layer, query, output in zip(fusion.layers, self.query, self.output, strict=True):
            attention: Any = layer.crossattention
            query.load_state_dict(attention.self.query.state_dict())
            output.load_state_dict(attention.output.dense.state_dict())


def fuse_two_images(
    fusion: FusionEncoder,
    second: SecondImage,
    text_states: Tensor,
    mask: Tensor,
    images: tuple[Tensor, Tensor],
    *,
    layer: int | None = None,
) -> tuple[Tensor, tuple[Tensor, Tensor] | None]:
    """Fuse texts with two images each.

    Args:
        fusion: its layers attend to the first images.
        second: attends to the second ones.
        text_states: (P, L, D) of the text encoder.
        mask: (P, L) bool; each text's first token is real.
        images: (P, N, D') twice.
        layer: index of a layer whose attention is returned, counted from the end when negative.

    Returns:
        (P, L, D), zeros at padding, and twice (P, H, L, N) attention weights of the layer, with their graph.
    """
    first_states, second_states = (fusion.bridge(one) for one in images)
    wanted, weights = None if layer is None else range(len(fusion.layers))[layer], None
    averaged = len(fusion.layers) - len(second.merge)
    blocks: Any = fusion.layers
    for place, block in enumerate(blocks):
        attended = block.attention(text_states, mask[:, None, None, :])[0]
        from_first, to_first = attend_to_image(block, attended, first_states)
        from_second, to_second = attend_to_image(
            block, attended, second_states, query=second.query[place], output=second.output[place]
        )
        if place < averaged:
            read = (from_first + from_second) / 2
        else:
            read = second.merge[place - averaged](torch.cat([from_first, from_second], dim=2))
        text_states = feed_forward(block, read, attended)
        if place == wanted:
            weights = to_first, to_second
    return text_states * mask[:, :, None], weights
