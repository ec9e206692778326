"""Scaled cosine similarities of raw features, with no unit-length copy of them held or made on the way back.

Legend: B queries, M keys, D feature width. For few queries and many keys, where those copies, and not the (B,
M) logits, are what takes memory.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from ._numerics import inverse_lengths, refuse_second_derivative, working
from ._streamed import through_length

__all__ = ["cosine_logits"]

# Rows whose unit vectors are made at a time.
PIECE = 256


def cosine_logits(queries: Tensor, keys: Tensor, scale: Tensor, normalize: bool) -> Tensor:
    """(B, D), (M, D) and 0-d to (B, M): scale times the cosine, or times the product when not normalised."""
    logits: Tensor = _Cosine.apply(queries, keys, scale, normalize)  # type: ignore[no-untyped-call]
    return logits


class _Cosine(torch.autograd.Function):
    """See `cosine_logits`."""

    @staticmethod
    @torch.no_grad()
    def forward(ctx: Any, queries: Tensor, keys: Tensor, scale: Tensor, normalize: bool) -> Tensor:
        dtype = working(queries, keys)
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
        refuse_second_derivative()
        queries, keys, scale, unit, inverse_queries, inverse_keys = ctx.saved_tensors
        with torch.autocast(queries.device.type, enabled=False):
            by_logits = gradients[0] * scale
            by_keys = None
            if ctx.needs_input_grad[1]:  # a twin's need none
                by_keys = by_logits.t() @ unit  # (M, D), by the unit keys
            if inverse_keys is not None:
                by_logits *= inverse_keys
            by_queries = by_logits @ keys.to(unit.dtype)  # (B, D), by the unit queries
            along = through_length(by_queries, queries, inverse_queries, PIECE)
            if by_keys is not None:
                through_length(by_keys, keys, inverse_keys, PIECE)
                by_keys = by_keys.to(keys.dtype)
        by_scale = (along / scale).to(scale.dtype)
        return by_queries.to(queries.dtype), by_keys, by_scale, None
