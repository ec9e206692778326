"""A BERT's layers without padding: what is computed word by word is computed for real words alone.

Captions differ in length, and padded to the longest of a batch a half of it is easily padding. Linear maps,
norms and dropout do not mind which text a word stands in, so here they see one long row of words; attention,
which does, is given the texts apart, padded. Values and gradients are those of transformers' own layers.

Dimensions: P texts, L tokens of the longest, T real tokens of all, D width, H heads of width E.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from likewise.encoders.fast.attention import attention, heads
from likewise.encoders.fast.fused_linear import mapped_together
from likewise.encoders.fast.recompute import RecomputedTensors

__all__ = ["Packing", "packed_bert", "self_attention"]


class Packing:
    """Where the real tokens of padded texts stand; each text's first counts as real whatever the mask says.

    Args:
        mask: (P, L) bool, True on real tokens.
    """

    def __init__(self, mask: Tensor) -> None:
        self.mask = mask | (torch.arange(mask.shape[1], device=mask.device) == 0)
        self.places = self.mask.flatten().nonzero().squeeze(1)  # (T,)

    @property
    def firsts(self) -> Tensor:
        """(P,) places of the texts' first tokens among the real ones."""
        lengths = self.mask.sum(dim=1)
        return lengths.cumsum(0) - lengths

    def tokens_before(self, *texts: int) -> list[int]:
        """How many real tokens stand before each of some texts."""
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
        only_firsts: compute what the texts' first tokens find, not what all do.

    Returns:
        (T, D), or (P, D) of the first tokens.
    """
    words = layer.attention.self
    width = words.attention_head_size
    made_again = RecomputedTensors()
    if only_firsts:
        asking = states[packing.firsts]
        (query,) = heads(words.query(asking)[:, None], width)
        joint = mapped_together(states, words.key, words.value)
        key, value = heads(made_again(packing.unpack, joint), width, 2)
    else:
        asking, joint = states, mapped_together(states, words.query, words.key, words.value)
        query, key, value = heads(made_again(packing.unpack, joint), width, 3)
    with made_again.kept():
        found, _ = attention(
            words,
            query,
            key,
            value,
            packing.mask[:, None, None, :],  # for all heads and queries
            dropout=words.dropout.p if words.training else 0.0,
            is_causal=False,
        )  # (P, L, H, E)
    found = found.flatten(2)
    attended: Tensor = layer.attention.output(found[:, 0] if only_firsts else packing.pack(found), asking)
    return attended


def packed_bert(backbone: Any, tokens: Tensor, mask: Tensor) -> Tensor:
    """A BertModel's last hidden state.

    Args:
        backbone: of transformers.
        tokens: (P, L) int64.
        mask: (P, L) bool, True on real tokens.

    Returns:
        (P, L, D), zeros at padding.
    """
    packing = Packing(mask)
    places = packing.places[None]
    states = backbone.embeddings(
        input_ids=packing.pack(tokens)[None],
        position_ids=places % mask.shape[1],
        token_type_ids=torch.zeros_like(places),
    )[0]  # (T, D)
    for layer in backbone.encoder.layer:
        states = layer.feed_forward_chunk(self_attention(layer, states, packing))
    return packing.unpack(states)
