"""The attention that our transformers backbones use: PyTorch's fused one, or ours where it has no good one.

On a processor that multiplies bfloat16 itself, the backward pass of PyTorch's fused attention is several
times slower than matrix products and a softmax (2.13; 65 tokens, 3 heads of 64, batch 128, forward and
backward on one core: 88 ms against 16 ms). And with dropout PyTorch has no fused one on processors: it
multiplies there too, and keeps scaled copies of queries and keys, the weights twice and what was dropped. In
float32 without dropout, and on GPUs, the fused one is the better.

Dimensions: B batch, H heads, L queries, K keys, E width of a head.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from likewise.encoders.fast.dropout import draw_kept, thinned

__all__ = ["ATTENTION", "attention", "attention_of", "heads", "register_attention"]

ATTENTION = "likewise"
"""The name it is registered under, for `attn_implementation`."""

# Ours keeps its (B, H, L, K) weights for the backward pass; beyond this one that does not takes over.
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


def heads(rows: Tensor, width: int, count: int = 1) -> list[Tensor]:
    """(B, L, count H E) rows side by side to as many (B, H, L, E), E the width of a head."""
    apart = rows.view(*rows.shape[:2], count, -1, width)
    return [part.transpose(1, 2) for part in apart.unbind(2)]


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
    if not _better_ours(query, key, dropout) or others.get("position_bias") is not None:
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
    bias = _bias(attention_mask, query, key, causal)
    found: Tensor = _Attention.apply(query, key, value, bias, scale, dropout)  # type: ignore[no-untyped-call]
    return found.transpose(1, 2).contiguous(), None


def _better_ours(query: Tensor, key: Tensor, dropout: float) -> bool:
    if query.device.type != "cpu" or query.shape[1] != key.shape[1]:
        return False
    if dropout > 0:  # PyTorch keeps the weights as well
        return True
    weights_bytes = 2 * query.shape[0] * query.shape[1] * query.shape[2] * key.shape[2]
    return query.dtype == torch.bfloat16 and weights_bytes <= _MOST_WEIGHTS_BYTES


class _Attention(torch.autograd.Function):
    """dropout(softmax(s Q K' + bias)) V; it keeps the weights once, and a byte each of what was dropped."""

    @staticmethod
    def forward(
        ctx: Any, query: Tensor, key: Tensor, value: Tensor, bias: Tensor | None, scale: float, dropout: float
    ) -> Tensor:
        scaled = torch.mul(query, scale, out=query.new_empty(query.shape))
        logits = _matrices(scaled) @ _matrices(key).transpose(1, 2)
        logits = logits.view(*query.shape[:3], -1)  # (B, H, L, K)
        if bias is not None:
            logits += bias
        # The softmax takes its sums in float32 whatever its input's type.
        weights = logits.softmax(dim=-1)
        kept, ctx.upscale = draw_kept(weights.shape, dropout) if dropout > 0 else (None, 1.0)
        ctx.scale = scale
        ctx.save_for_backward(query, key, value, weights, kept)
        found = _matrices(_thinned(weights, kept, ctx.upscale)) @ _matrices(value)
        return found.view(*query.shape[:3], -1)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, slope: Tensor) -> tuple[Tensor | None, ...]:
        query, key, value, weights, kept = ctx.saved_tensors
        slopes = _matrices(slope)  # (B H, L, E)
        by_value = _matrices(_thinned(weights, kept, ctx.upscale)).transpose(1, 2) @ slopes
        by_weights = (slopes @ _matrices(value).transpose(1, 2)).view(weights.shape)
        by_weights = _thinned(by_weights, kept, ctx.upscale)
        by_logits = torch.ops.aten._softmax_backward_data(by_weights, weights, -1, weights.dtype)
        by_logits = _matrices(by_logits.mul_(ctx.scale))
        by_query, by_key = by_logits @ _matrices(key), by_logits.transpose(1, 2) @ _matrices(query)
        found = zip((by_query, by_key, by_value), (query, key, value), strict=True)
        return *(by.view(part.shape) for by, part in found), None, None, None


def _matrices(heads: Tensor) -> Tensor:
    """(B, H, ., .) to (B H, ., .), contiguous: products of such copy nothing, nor where one is transposed."""
    return heads.reshape(-1, *heads.shape[2:])


def _thinned(weights: Tensor, kept: Tensor | None, upscale: float) -> Tensor:
    return weights if kept is None else thinned(weights, kept, upscale)


def _bias(mask: Tensor | None, query: Tensor, key: Tensor, causal: bool) -> Tensor | None:
    """What is added to the logits: 0 where a query may look, the least finite number where it may not."""
    if mask is None:
        if not causal or query.shape[2] == 1:
            return None
        mask = torch.ones(query.shape[2], key.shape[2], dtype=torch.bool, device=query.device).tril()
    if mask.dtype != torch.bool:
        return mask.to(query.dtype)
    return torch.zeros_like(mask, dtype=query.dtype).masked_fill_(~mask, torch.finfo(query.dtype).min)
