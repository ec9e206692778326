"""The attention that our transformers backbones use: PyTorch's fused one, except where it is the slower.

On a processor that multiplies bfloat16 itself, the backward pass of PyTorch's fused attention is several
times slower than matrix products and a softmax (2.13; 65 tokens, 3 heads of 64, batch 128, forward and
backward on one core: 88 ms against 16 ms). In float32, and on GPUs, the fused one is the faster.

Dimensions: B batch, H heads, L queries, K keys, E width of a head.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from likewise.encoders.dropout import dropout as dropped_out

__all__ = ["ATTENTION", "attention", "attention_of", "register_attention"]

ATTENTION = "likewise"
"""The name it is registered under, for `attn_implementation`."""

# Plain attention keeps its (B, H, L, K) weights for the backward pass; beyond this the fused one takes over.
_MOST_WEIGHTS_BYTES = 256 * 2**20


def register_attention() -> str:
    """Make the attention known to transformers, once or again; returns its name."""
    from transformers import AttentionInterface
    from transformers.masking_utils import AttentionMaskInterface, sdpa_mask

    AttentionInterface.register(ATTENTION, attention)
    AttentionMaskInterface.register(ATTENTION, sdpa_mask)
    return ATTENTION


def attention_of(model_type: str) -> dict[str, str]:
    """How to load a pre-trained model with it; models that don't let it be chosen keep their own."""
    known = ("bert", "clip_text_model", "deit", "roberta", "vit", "xlm-roberta")
    return {"attn_implementation": register_attention()} if model_type in known else {}


def attention(
    module: torch.nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    *,
    scaling: float | None = None,
    dropout: float = 0.0,
    is_causal: bool | None = None,
    **others: Any,
) -> tuple[Tensor, None]:
    """The interface of transformers: (B, H, L, E), (B, H, K, E), (B, H, K, E) to (B, L, H, E)."""
    weights_bytes = 2 * query.shape[0] * query.shape[1] * query.shape[2] * key.shape[2]
    plain = query.device.type == "cpu" and query.dtype == torch.bfloat16 and query.shape[1] == key.shape[1]
    if not plain or weights_bytes > _MOST_WEIGHTS_BYTES or others.get("position_bias") is not None:
        from transformers.integrations.sdpa_attention import sdpa_attention_forward

        fused: tuple[Tensor, None] = sdpa_attention_forward(
            module,
            query,
            key,
            value,
            attention_mask,
            dropout=dropout,
            scaling=scaling,
            is_causal=is_causal,
            **others,
        )
        return fused
    causal = is_causal if is_causal is not None else getattr(module, "is_causal", False)
    scale = query.shape[-1] ** -0.5 if scaling is None else scaling
    return _plain(query, key, value, _bias(attention_mask, query, key, causal), scale, dropout), None


def _plain(
    query: Tensor, key: Tensor, value: Tensor, bias: Tensor | None, scale: float, dropout: float
) -> Tensor:
    logits = (query * scale) @ key.transpose(-1, -2)  # (B, H, L, K)
    if bias is not None:
        logits = logits + bias
    # The softmax takes its sums in float32 whatever its input's type.
    weights = F.softmax(logits, dim=-1)
    if dropout > 0:
        weights = dropped_out(weights, dropout)
    return (weights @ value).transpose(1, 2).contiguous()  # (B, L, H, E)


def _bias(mask: Tensor | None, query: Tensor, key: Tensor, causal: bool) -> Tensor | None:
    """What is added to the logits: 0 where a query may look, the least finite number where it may not."""
    if mask is None:
        if not causal or query.shape[2] == 1:
            return None
        mask = torch.ones(query.shape[2], key.shape[2], dtype=torch.bool, device=query.device).tril()
    if mask.dtype != torch.bool:
        return mask.to(query.dtype)
    return torch.zeros_like(mask, dtype=query.dtype).masked_fill_(~mask, torch.finfo(query.dtype).min)
