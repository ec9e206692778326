"""A BERT without padding: whatever works token by token is computed for real tokens alone.

Captions differ in length; padded to the longest of the batch, half of it is easily padding. Linear layers,
norms and dropout see one long row of real tokens; attention sees the texts padded. Values and gradients are
those of transformers' own layers.

Dimensions: P texts, L tokens of the longest, T real tokens of all, D width, H heads of width E.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from likewise.encoders.fast.attention import attention, split_heads
from likewise.encoders.fast.fused_linear import fused_linear
from likewise.encoders.fast.recompute import RecomputedTensors

__all__ = ["Packing", "forward_of_bert", "self_attention"]


class Packing:
    """Where the real tokens of padded texts are; each text's first counts as real whatever the mask says.

    Args:
        mask: (P, L) bool, True on real tokens.
    """

    def __init__(self, mask: Tensor) -> None:
        self.mask = mask | (torch.arange(mask.shape[1], device=mask.device) == 0)
        self.places = self.mask.flatten().nonzero().squeeze(1)  # (T,)

    @property
    def firsts(self) -> Tensor:
        """(P,) rows of the texts' first tokens among the real ones."""
        lengths = self.mask.sum(dim=1)
        return lengths.cumsum(0) - lengths

    def tokens_before(self, *texts: int) -> list[int]:
        """The number of real tokens before each of some texts."""
        counts: list[int] = torch.stack([self.mask[:text].sum() for text in texts]).tolist()
        return counts

    def pack(self, rows: Tensor) -> Tensor:
        """(P, L, ...) to (T, ...)."""
        return rows.flatten(0, 1).index_select(0, self.places)

    def unpack(self, rows: Tensor) -> Tensor:
        """(T, ...) to (P, L, ...), zeros at padding."""
        padded = rows.new_zeros(self.mask.numel(), *rows.shape[1:]).index_copy_(0, self.places, rows)
        return padded.view(*self.mask.shape, *rows.shape[1:])


def self_attention(layer: Any, states: Tensor, packing: Packing, *, only_firsts: bool = False) -> Tensor:
    """The first half of a BertLayer.

    Args:
        layer: of transformers.
        states: (T, D).
        packing: of the texts.
        only_firsts: compute the texts' first tokens alone.

    Returns:
        (T, D), or (P, D) of the first tokens.
    """
    attending = layer.attention.self
    width = attending.attention_head_size
    recomputed = RecomputedTensors()
    if only_firsts:
        queries = states[packing.firsts]
        (query,) = split_heads(attending.query(queries)[:, None], width)
        joint = fused_linear(states, attending.key, attending.value)
        key, value = split_heads(recomputed(packing.unpack, joint), width, 2)
    else:
        queries, joint = states, fused_linear(states, attending.query, attending.key, attending.value)
        query, key, value = split_heads(recomputed(packing.unpack, joint), width, 3)
    with recomputed.saving_sources():
        output, _ = attention(
            attending,
            query,
            key,
            value,
            packing.mask[:, None, None, :],  # for all heads and queries
            dropout=attending.dropout.p if attending.training else 0.0,
            is_causal=False,
        )  # (P, L, H, E)
    output = output.flatten(2)
    packed: Tensor = output[:, 0] if only_firsts else packing.pack(output)
    attended: Tensor = layer.attention.output(packed, queries)
    return attended


def forward_of_bert(
    self: Any, input_ids: Tensor | None = None, attention_mask: Tensor | None = None, **others: Any
) -> Any:
    """`forward` of a BertModel without padding; other arguments than these two take transformers' own.

    Args:
        self: the BertModel.
        input_ids: (P, L) int64.
        attention_mask: (P, L) bool, True on real tokens.
        others: as of transformers.

    Returns:
        The output of transformers; its `last_hidden_state` (P, L, D) is zero at padding.
    """
    if others or input_ids is None or attention_mask is None:
        return self.padded_forward(input_ids=input_ids, attention_mask=attention_mask, **others)
    from transformers.modeling_outputs import BaseModelOutput

    packing = Packing(attention_mask)
    places = packing.places[None]
    states = self.embeddings(
        input_ids=packing.pack(input_ids)[None],
        position_ids=places % attention_mask.shape[1],
        token_type_ids=torch.zeros_like(places),
    )[0]  # (T, D)
    for layer in self.encoder.layer:
        states = layer.feed_forward_chunk(self_attention(layer, states, packing))
    return BaseModelOutput(last_hidden_state=packing.unpack(states))
