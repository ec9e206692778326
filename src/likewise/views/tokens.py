"""Token masking for masked language models.

Legend: B batch, L tokens.
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

_MASKED, _RANDOM = 0.8, 0.1  # of the selected tokens; the rest stays unchanged


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
    """Select tokens to predict, and mask most of them.

    Of the selected, 80 % become the mask token, 10 % a random token, 10 % stay. Padding and special tokens
    ([CLS], [SEP]) are never selected.

    Args:
        tokens: (B, L) int64.
        mask: (B, L) bool, True on real tokens.
        draw: the step's random numbers.
        index: (B,) int64, the rows' keys (`Batch.key`); the selection depends on nothing else.
        mask_id: the mask token.
        vocabulary_size: random tokens are drawn from the whole vocabulary.
        special_ids: tokens that are never selected.
        share: share of the tokens to select.

    Returns:
        The masked tokens, and the labels: the original tokens, `IGNORE_INDEX` elsewhere; (B, L) each.

    Reference:
        Devlin et al. 2018, arXiv 1810.04805, section 3.1.
    """
    L = tokens.shape[1]
    special = constant(tuple(special_ids), tokens.device, tokens.dtype)
    ordinary = mask & ~torch.isin(tokens, special)
    selected = ordinary & (draw.uniform(index, L, purpose="hidden words") < share)
    kind = draw.uniform(index, L, purpose="how words are hidden")  # (B, L)
    random = draw.bits(index, L, purpose="random words").remainder(vocabulary_size)
    replaced = torch.where(kind < _MASKED, mask_id, torch.where(kind < _MASKED + _RANDOM, random, tokens))
    return torch.where(selected, replaced, tokens), torch.where(selected, tokens, IGNORE_INDEX)
