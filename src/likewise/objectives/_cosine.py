"""Scaled cosine similarities that store no unit-length copy of the features, forward or backward.

Legend: B queries, M keys, D feature width. For few queries and many keys, where those copies and not the
(B, M) logits take the memory.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from ._numerics import compute_dtype, forbid_double_backward, inverse_lengths
from ._streamed import normalize_backward

__all__ = ["cosine_logits"]

# Rows brought to unit length at a time.
CHUNK_ROWS = 256


def cosine_logits(queries: Tensor, keys: Tensor, scale: Tensor, normalize: bool) -> Tensor:
    """(B, D), (M, D) and 0-d to (B, M): scale times the cosine, or the inner product if not normalized."""
    logits: Tensor = _Cosine.apply(queries, keys, scale, normalize)  # type: ignore[no-untyped-call]
    return logits


class _Cosine(torch.autograd.Function):
    """See `cosine_logits`."""

    @staticmethod
    @torch.no_grad()
    def forward(ctx: Any, queries: Tensor, keys: Tensor, scale: Tensor, normalize: bool) -> Tensor:
        dtype = compute_dtype(queries, keys)
        inverse_queries = inverse_lengths(queries) if normalize else None
        inverse_keys = inverse_lengths(keys) if normalize else None
        unit = queries.to(dtype) if inverse_queries is None else queries * inverse_queries[:, None]
        logits = (unit * scale) @ keys.to(dtype).t()
        if inverse_keys is not None:
            logits.mul_(inverse_keys)
        ctx.save_for_backward(queries, keys, scale, unit, inverse_queries, inverse_keys)
        return logits

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor | None, Tensor, None]:
        forbid_double_backward()
        queries, keys, scale, unit, inverse_queries, inverse_keys = ctx.saved_tensors
        with torch.autocast(queries.device.type, enabled=False):
            by_logits = gradients[0] * scale
            # (M, D) by the unit keys; those of an EMA encoder need none
            by_keys = by_logits.t() @ unit if ctx.needs_input_grad[1] else None
            if inverse_keys is not None:
                by_logits *= inverse_keys
            by_queries = by_logits @ keys.to(unit.dtype)  # (B, D), by the unit queries
            along = normalize_backward(by_queries, queries, inverse_queries, CHUNK_ROWS)
            if by_keys is not None:
                normalize_backward(by_keys, keys, inverse_keys, CHUNK_ROWS)
                by_keys = by_keys.to(keys.dtype)
        by_scale = (along / scale).to(scale.dtype)
        return by_queries.to(queries.dtype), by_keys, by_scale, None
