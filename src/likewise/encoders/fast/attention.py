"""The attention of our transformers backbones: PyTorch's fused one, or ours where that is slow or large.

With bfloat16 on a CPU that multiplies it natively, the backward pass of PyTorch's fused attention is several
times slower than matrix products and a softmax (torch 2.13; 65 tokens, 3 heads of 64, batch 128, forward and
backward on one core: 88 ms against 16 ms). With dropout on a CPU, PyTorch does not fuse: it keeps scaled
copies of queries and keys, the weights twice and the dropout mask. In float32 without dropout, and on GPUs,
the fused one is better.

Dimensions: B batch, H heads, L queries, K keys, E width of a head.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from likewise.encoders.fast.dropout import apply_mask, draw_mask

__all__ = ["ATTENTION", "attention", "register_attention", "split_heads"]

ATTENTION = "likewise"
"""The name it is registered under, for transformers' `attn_implementation`."""

# Ours keeps its (B, H, L, K) weights for the backward pass; above this size the fused one takes over.
_MAX_WEIGHTS_BYTES = 256 * 2**20


def register_attention() -> str:
    """Register the attention with transformers (again is fine); returns its name."""
    from transformers import AttentionInterface
    from transformers.masking_utils import AttentionMaskInterface, sdpa_mask

    AttentionInterface.register(ATTENTION, attention)
    AttentionMaskInterface.register(ATTENTION, sdpa_mask)
    return ATTENTION


def split_heads(rows: Tensor, width: int, count: int = 1) -> list[Tensor]:
    """(B, L, count H E), concatenated, to `count` times (B, H, L, E); `width` is E."""
    parts = rows.view(*rows.shape[:2], count, -1, width)
    return [part.transpose(1, 2) for part in parts.unbind(2)]


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
    if not _ours_is_better(query, key, dropout) or others.get("position_bias") is not None:
        from transformers.integrations.sdpa_attention import sdpa_attention_forward

        options = {"dropout": dropout, "scaling": scaling, "is_causal": is_causal, **others}
        fused: tuple[Tensor, None] = sdpa_attention_forward(
            module, query, key, value, attention_mask, **options
        )
        return fused
    causal = is_causal if is_causal is not None else getattr(module, "is_causal", False)
    scale = query.shape[-1] ** -0.5 if scaling is None else scaling
    bias = _bias(attention_mask, query, key, causal)
    output: Tensor = _Attention.apply(  # type: ignore[no-untyped-call]
        query, key, value, bias, scale, dropout
    )
    return output.transpose(1, 2).contiguous(), None


def _ours_is_better(query: Tensor, key: Tensor, dropout: float) -> bool:
    if query.device.type != "cpu" or query.shape[1] != key.shape[1]:
        return False
    if dropout > 0:  # PyTorch keeps the weights as well
        return True
    weights_bytes = 2 * query.shape[0] * query.shape[1] * query.shape[2] * key.shape[2]
    return query.dtype == torch.bfloat16 and weights_bytes <= _MAX_WEIGHTS_BYTES


class _Attention(torch.autograd.Function):
    """dropout(softmax(s Q K' + bias)) V; keeps the weights once, and one byte each for the dropout mask."""

    @staticmethod
    def forward(
        ctx: Any, query: Tensor, key: Tensor, value: Tensor, bias: Tensor | None, scale: float, dropout: float
    ) -> Tensor:
        scaled = torch.mul(query, scale, out=query.new_empty(query.shape))
        logits = _matrices(scaled) @ _matrices(key).transpose(1, 2)
        logits = logits.view(*query.shape[:3], -1)  # (B, H, L, K)
        if bias is not None:
            logits += bias
        weights = logits.softmax(dim=-1)  # which sums in float32 whatever its input's type
        mask, ctx.mask_scale = draw_mask(weights.shape, dropout) if dropout > 0 else (None, 1.0)
        ctx.scale = scale
        ctx.save_for_backward(query, key, value, weights, mask)
        output = _matrices(apply_mask(weights, mask, ctx.mask_scale)) @ _matrices(value)
        return output.view(*query.shape[:3], -1)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_output: Tensor) -> tuple[Tensor | None, ...]:
        query, key, value, weights, mask = ctx.saved_tensors
        grads = _matrices(grad_output)  # (B H, L, E)
        grad_value = _matrices(apply_mask(weights, mask, ctx.mask_scale)).transpose(1, 2) @ grads
        grad_weights = (grads @ _matrices(value).transpose(1, 2)).view(weights.shape)
        grad_weights = apply_mask(grad_weights, mask, ctx.mask_scale)
        grad_logits = torch.ops.aten._softmax_backward_data(grad_weights, weights, -1, weights.dtype)
        grad_logits = _matrices(grad_logits.mul_(ctx.scale))
        grad_query, grad_key = grad_logits @ _matrices(key), grad_logits.transpose(1, 2) @ _matrices(query)
        pairs = zip((grad_query, grad_key, grad_value), (query, key, value), strict=True)
        return *(grad.view(part.shape) for grad, part in pairs), None, None, None


def _matrices(heads: Tensor) -> Tensor:
    """(B, H, ., .) to (B H, ., .), contiguous, so that no product copies, transposed or not."""
    return heads.reshape(-1, *heads.shape[2:])


def _bias(mask: Tensor | None, query: Tensor, key: Tensor, causal: bool) -> Tensor | None:
    """Added to the logits: 0 where a query may attend, the lowest finite number elsewhere."""
    if mask is None:
        if not causal or query.shape[2] == 1:
            return None
        mask = torch.ones(query.shape[2], key.shape[2], dtype=torch.bool, device=query.device).tril()
    if mask.dtype != torch.bool:
        return mask.to(query.dtype)
    return torch.zeros_like(mask, dtype=query.dtype).masked_fill_(~mask, torch.finfo(query.dtype).min)
