"""Linear maps that make their input again for the backward pass: the values of plain layers, less kept.

Of a GELU and of a norm plain layers keep what goes in and what comes out. The second follows from the first
by little arithmetic, beside the products that read it, so here the map keeps the first alone.

Dimensions: D width, H heads of width E, I inputs and O outputs of a map, L tokens.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from likewise.encoders.fast.attention import attention, heads

__all__ = [
    "DeferredLayerNorm",
    "LinearOfGELU",
    "LinearOfNorm",
    "as_multiplied",
    "attention_of_norm",
    "mapped_together",
    "multiplied_dtype",
]


def multiplied_dtype(rows: Tensor) -> torch.dtype:
    """What autocast, if it is on, multiplies rows in."""
    device = rows.device.type
    if rows.dtype != torch.float32 or not torch.is_autocast_enabled(device):
        return rows.dtype
    return torch.get_autocast_dtype(device)


def as_multiplied(rows: Tensor) -> Tensor:
    """Rows in the dtype that autocast multiplies in; for rows that several maps read, each of which would
    otherwise make and keep its own copy."""
    return rows.to(multiplied_dtype(rows))


def mapped_together(rows: Tensor, *maps: nn.Linear) -> Tensor:
    """(..., I) to (..., O), what linear maps with biases make of the same rows, side by side; one product."""
    weight = torch.cat([as_multiplied(one.weight) for one in maps])
    bias = torch.cat([as_multiplied(one.bias) for one in maps])
    return F.linear(as_multiplied(rows), weight, bias)


class LinearOfGELU(nn.Linear):
    """A linear map of gelu(x) that keeps x for the backward pass and makes gelu(x) from it again.

    Plain layers keep both, and these are the widest that a Transformer has: a quarter of all it keeps.
    """

    @classmethod
    def of(cls, linear: nn.Linear) -> LinearOfGELU:
        """With the very weights and bias of a linear map."""
        made = cls(linear.in_features, linear.out_features, linear.bias is not None, device="meta")
        made.weight, made.bias = linear.weight, linear.bias
        return made

    def forward(self, x: Tensor) -> Tensor:
        """(..., I) to (..., O)."""
        bias = None if self.bias is None else as_multiplied(self.bias)
        parts = as_multiplied(x), as_multiplied(self.weight), bias
        mapped: Tensor = _LinearOfGELU.apply(*parts)  # type: ignore[no-untyped-call]
        return mapped


class _LinearOfGELU(torch.autograd.Function):
    """See `LinearOfGELU`."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        ctx.save_for_backward(x, weight)
        return F.linear(F.gelu(x), weight, bias)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, slope: Tensor) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
        x, weight = ctx.saved_tensors
        asks_x, asks_weight, asks_bias = ctx.needs_input_grad
        rows = slope.flatten(0, -2)
        by_x = torch.ops.aten.gelu_backward(slope @ weight, x) if asks_x else None
        by_weight = rows.t() @ F.gelu(x).flatten(0, -2) if asks_weight else None
        return by_x, by_weight, rows.sum(0) if asks_bias else None


class DeferredLayerNorm(nn.LayerNorm):
    """A norm that lets its input pass: the maps behind it, which have been told of it, compute it."""

    @classmethod
    def of(cls, norm: nn.LayerNorm) -> DeferredLayerNorm:
        """With the very weights of a norm."""
        made = cls(norm.normalized_shape, norm.eps, device="meta")
        made.weight, made.bias = norm.weight, norm.bias
        return made

    def forward(self, rows: Tensor) -> Tensor:
        """What it is given."""
        return rows

    def mapped(self, rows: Tensor, *maps: nn.Linear) -> Tensor:
        """(..., D), not normed yet, to (..., O): what linear maps make of their norm, side by side."""
        biases = [one.bias for one in maps if one.bias is not None]
        parameters = *(one.weight for one in maps), *biases
        found: Tensor = _LinearOfNorm.apply(  # type: ignore[no-untyped-call]
            rows, self.weight, self.bias, self.eps, multiplied_dtype(rows), len(maps), *parameters
        )
        return found


class LinearOfNorm(nn.Linear):
    """A linear map of the norm before it."""

    norm_before: tuple[DeferredLayerNorm]  # in a tuple it is not a child of this module

    @classmethod
    def of(cls, linear: nn.Linear, norm: DeferredLayerNorm) -> LinearOfNorm:
        """With the very weights and bias of a linear map."""
        made = cls(linear.in_features, linear.out_features, linear.bias is not None, device="meta")
        made.weight, made.bias = linear.weight, linear.bias
        made.norm_before = (norm,)
        return made

    def forward(self, rows: Tensor) -> Tensor:
        """(..., D), not normed yet, to (..., O)."""
        return self.norm_before[0].mapped(rows, self)


class _LinearOfNorm(torch.autograd.Function):
    """See `DeferredLayerNorm.mapped`."""

    @staticmethod
    def forward(
        ctx: Any,
        rows: Tensor,
        scale: Tensor,
        shift: Tensor,
        eps: float,
        dtype: torch.dtype,
        num_maps: int,
        *parameters: Tensor,
    ) -> Tensor:
        weights, biases = parameters[:num_maps], parameters[num_maps:]
        ctx.save_for_backward(rows, scale, shift, *weights)  # themselves: one made of them would be kept too
        ctx.eps, ctx.dtype = eps, dtype
        normed = F.layer_norm(rows, scale.shape, scale, shift, eps)
        bias = torch.cat(biases).to(dtype) if biases else None
        return F.linear(normed.to(dtype), torch.cat(weights).to(dtype), bias)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, slope: Tensor) -> tuple[Tensor | None, ...]:
        rows, scale, shift, *weights = ctx.saved_tensors
        asks_rows, asks_scale, asks_shift, _, _, _, *asks_parameters = ctx.needs_input_grad
        asks_weights, asks_biases = asks_parameters[: len(weights)], asks_parameters[len(weights) :]
        shape, sizes = list(scale.shape), [len(weight) for weight in weights]
        normed, *moments = torch.native_layer_norm(rows, shape, scale, shift, ctx.eps)
        flat = slope.flatten(0, -2)
        by_weights: list[Tensor | None] = [None] * len(weights)
        if any(asks_weights):
            joint = flat.t() @ normed.flatten(0, -2).to(ctx.dtype)
            by_weights = list(torch.split(joint.to(weights[0].dtype), sizes))
        by_biases: list[Tensor | None] = [None] * len(asks_biases)
        if any(asks_biases):
            by_biases = list(torch.split(flat.sum(0).to(weights[0].dtype), sizes))
        by_norm = torch.ops.aten.native_layer_norm_backward(
            (slope @ torch.cat(weights).to(ctx.dtype)).to(rows.dtype),
            rows,
            shape,
            *moments,
            scale,
            shift,
            [asks_rows, asks_scale, asks_shift],
        )
        return *by_norm, None, None, None, *by_weights, *by_biases


def attention_of_norm(attending: Any, norm: DeferredLayerNorm) -> None:
    """Make a self-attention of transformers read a norm that is left to it, by one map for all three parts.

    Args:
        attending: with `q_proj`, `k_proj` and `v_proj`; ViT's or CLIP's. Changed in place; its weights stay.
        norm: before it.
    """
    plain: Any = type(attending)
    attending.__class__ = _attending_of_norm(plain)
    attending.norm_before = (norm,)  # in a tuple it is not a child of this module


@cache
def _attending_of_norm(plain: type) -> type:
    """A class of attentions with the forward pass below."""
    return type(f"{plain.__name__}OfNorm", (plain,), {"forward": _attend})


def _attend(
    self: Any, hidden_states: Tensor, attention_mask: Tensor | None = None, **others: Any
) -> tuple[Tensor, None]:
    """As transformers' own: (B, L, D), not normed yet, to (B, L, D)."""
    joint = self.norm_before[0].mapped(hidden_states, self.q_proj, self.k_proj, self.v_proj)  # (B, L, 3D)
    query, key, value = heads(joint, self.head_dim, 3)
    share = "attention_dropout" if hasattr(self, "attention_dropout") else "dropout"
    found, _ = attention(
        self,
        query,
        key,
        value,
        attention_mask,
        scaling=self.head_dim**-0.5,
        dropout=getattr(self, share) if self.training else 0.0,
        **others,
    )
    outward = self.o_proj if hasattr(self, "o_proj") else self.out_proj
    return outward(found.flatten(2)), None
