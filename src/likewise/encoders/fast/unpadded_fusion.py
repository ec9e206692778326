"""The fusion encoder's methods without padding, and with each image's keys and values computed once.

Values and gradients are those of `FusionEncoder`'s own `forward` and `read`.

Dimensions: P pairs, M images, R images of a round, L tokens, T real tokens of all texts, N image tokens, D
width, H heads of width E.
"""

from __future__ import annotations

from dataclasses import replace
from operator import itemgetter
from typing import Any

import torch
from torch import Tensor

from likewise.encoders.fast.attention import attention, split_heads
from likewise.encoders.fast.fused_linear import fused_linear, to_autocast_dtype
from likewise.encoders.fast.recompute import RecomputedTensors
from likewise.encoders.fast.unpadded_bert import Packing, self_attention
from likewise.encoders.pairing import Pairing, Take

__all__ = ["forward", "read"]


def forward(
    self: Any, text_states: Tensor, mask: Tensor, image_states: Tensor, pairing: Pairing | None = None
) -> Tensor:
    """See `FusionEncoder.forward`."""
    pairing, packing = pairing or Pairing(), Packing(mask)
    states, image_states = packing.pack(text_states), to_autocast_dtype(self.bridge(image_states))
    for layer in self.layers:
        states = _fuse(layer, states, packing, _keys(layer, image_states), pairing)
    return packing.unpack(states)


def read(
    self: Any,
    text_states: Tensor,
    mask: Tensor,
    image_states: Tensor,
    pairing: Pairing | None = None,
    *,
    last_round_whole: bool = False,
) -> tuple[Tensor, Tensor | None]:
    """See `FusionEncoder.read`; the last layer computes the tokens that are returned, and no others."""
    pairing, packing = pairing or Pairing(), Packing(mask)
    states, image_states = packing.pack(text_states), to_autocast_dtype(self.bridge(image_states))
    *lower, last = self.layers
    for layer in lower:
        states = _fuse(layer, states, packing, _keys(layer, image_states), pairing)
    keys, whole = _keys(last, image_states), None
    if last_round_whole:
        R, end = pairing.sizes(len(mask))
        start = end - R
        before, until = packing.tokens_before(start, end)
        round_packing = Packing(mask[start:end])
        whole = round_packing.unpack(_fuse(last, states[before:until], round_packing, keys[:R], Pairing()))
        states = torch.cat([states[:before], states[until:]])
        packing = Packing(torch.cat([mask[:start], mask[end:]]))
        pairing = replace(pairing, rounds=pairing.rounds - 1)
        if not len(packing.mask):
            return states, whole
    return _fuse(last, states, packing, keys, pairing, only_firsts=True), whole


def _keys(layer: Any, image_states: Tensor) -> Tensor:
    """(M, N, 2D), keys and values of the images for one layer, once for all texts of an image."""
    cross = layer.crossattention.self
    return fused_linear(image_states, cross.key, cross.value)


def _fuse(
    layer: Any, states: Tensor, packing: Packing, keys: Tensor, pairing: Pairing, *, only_firsts: bool = False
) -> Tensor:
    """One layer: (T, D) states of all real tokens to (T, D), or to (P, D) of the texts' first ones."""
    attended = self_attention(layer, states, packing, only_firsts=only_firsts)
    cross = layer.crossattention.self
    queries, width = cross.query(attended), cross.attention_head_size
    padded: Take = (lambda rows: rows[:, None]) if only_firsts else packing.unpack
    recomputed, outputs = RecomputedTensors(), []
    with recomputed.saving_sources():
        for take, images in pairing.groups(len(packing.mask)):
            (query,) = split_heads(recomputed(_after(padded, take), queries), width)
            key, value = split_heads(recomputed(itemgetter(images), keys), width, 2)
            dropout = cross.dropout.p if cross.training else 0.0
            outputs.append(attention(cross, query, key, value, None, dropout=dropout, is_causal=False)[0])
    output = pairing.ungroup(outputs, 1 if only_firsts else packing.mask.shape[1]).flatten(2)  # (P, L, D)
    attended = layer.crossattention.output(output[:, 0] if only_firsts else packing.pack(output), attended)
    fused: Tensor = layer.feed_forward_chunk(attended)
    return fused


def _after(first: Take, second: Take) -> Take:
    return lambda rows: second(first(rows))
