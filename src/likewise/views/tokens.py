"""Hiding words: what a masked language model is asked.

Dimensions: B batch, L tokens.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from likewise.hardware import constant
from likewise.step_random import StepRandom

__all__ = ["IGNORE_INDEX", "mask_tokens"]

IGNORE_INDEX = -100
"""The label of positions that are not predicted."""

_MASKED, _RANDOM = 0.8, 0.1  # of the chosen; the rest stays as it is


def mask_tokens(
    tokens: Tensor,
    mask: Tensor,
    *,
    draw: StepRandom,
    index: Tensor,
    mask_id: int,
    vocabulary_size: int,
    special_ids: Sequence[int],
    share: float = 0.15,
) -> tuple[Tensor, Tensor]:
    """Choose words, and hide most of them.

    Of the chosen 80 % become the mask token, 10 % a random word, 10 % stay. Padding and special tokens
    ([CLS], [SEP]) are never chosen.

    Args:
        tokens: (B, L) int64.
        mask: (B, L) bool, True on real tokens.
        draw: the step's random numbers.
        index: (B,) int64, the rows' keys (`Batch.key`); what is hidden depends on nothing else.
        mask_id: the mask token.
        vocabulary_size: random words are drawn from all of these.
        special_ids: tokens that are no words.
        share: of the words that are chosen.

    Returns:
        The tokens with words hidden, and the words that were there, `IGNORE_INDEX` elsewhere; (B, L) each.

    Reference:
        Devlin et al. 2018, arXiv 1810.04805, section 3.1.
    """
    L = tokens.shape[1]
    special = constant(tuple(special_ids), tokens.device, tokens.dtype)
    words = mask & ~torch.isin(tokens, special)
    chosen = words & (draw.uniform(index, L, purpose="hidden words") < share)
    kind = draw.uniform(index, L, purpose="how words are hidden")  # (B, L)
    random = draw.bits(index, L, purpose="random words").remainder(vocabulary_size)
    hidden = torch.where(kind < _MASKED, mask_id, torch.where(kind < _MASKED + _RANDOM, random, tokens))
    return torch.where(chosen, hidden, tokens), torch.where(chosen, tokens, IGNORE_INDEX)
