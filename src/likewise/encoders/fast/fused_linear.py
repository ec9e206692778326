"""Linear layers that recompute their input in the backward pass: values of plain layers, less memory.

Each class differs from its plain one in `forward` alone: a plain layer becomes one by its `__class__`.

Plain layers keep the input and the output of a GELU and of a norm. The output follows from the input with
little arithmetic beside the products that use it, so these layers keep the input alone.

Dimensions: D width, H heads of width E, I inputs and O outputs of a layer, L tokens.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from likewise.encoders.fast.attention import attention, split_heads

__all__ = [
    "DeferredLayerNorm",
    "LinearOfGELU",
    "LinearOfNorm",
    "attention_of_norm",
    "fused_linear",
    "to_autocast_dtype",
]


def _autocast_dtype(rows: Tensor) -> torch.dtype:
    """The dtype of a linear layer's inputs under autocast, if it is on."""
    device = rows.device.type
    if rows.dtype != torch.float32 or not torch.is_autocast_enabled(device):
        return rows.dtype
    return torch.get_autocast_dtype(device)


def to_autocast_dtype(rows: Tensor) -> Tensor:
    """Cast once for several layers; under autocast each of them would make and keep a copy."""
    return rows.to(_autocast_dtype(rows))


def fused_linear(rows: Tensor, *layers: nn.Linear) -> Tensor:
    """(..., I) to (..., O): outputs of linear layers with biases, concatenated; one product."""
    weight = torch.cat([to_autocast_dtype(layer.weight) for layer in layers])
    bias = torch.cat([to_autocast_dtype(layer.bias) for layer in layers])
    return F.linear(to_autocast_dtype(rows), weight, bias)


class LinearOfGELU(nn.Linear):
    """A linear layer of gelu(x) that keeps x and recomputes gelu(x) in the backward pass.

    These are a Transformer's widest tensors; plain layers keep both, a quarter of all they keep.
    """

    def forward(self, x: Tensor) -> Tensor:
        """(..., I) to (..., O)."""
        bias = None if self.bias is None else to_autocast_dtype(self.bias)
        inputs = to_autocast_dtype(x), to_autocast_dtype(self.weight), bias
        output: Tensor = _LinearOfGELU.apply(*inputs)  # type: ignore[no-untyped-call]
        return output


class _LinearOfGELU(torch.autograd.Function):
    """See `LinearOfGELU`."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        ctx.save_for_backward(x, weight)
        return F.linear(F.gelu(x), weight, bias)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_output: Tensor) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
        x, weight = ctx.saved_tensors
        needs_x, needs_weight, needs_bias = ctx.needs_input_grad
        rows = grad_output.flatten(0, -2)
        grad_x = torch.ops.aten.gelu_backward(grad_output @ weight, x) if needs_x else None
        grad_weight = rows.t() @ F.gelu(x).flatten(0, -2) if needs_weight else None
        return grad_x, grad_weight, rows.sum(0) if needs_bias else None


class DeferredLayerNorm(nn.LayerNorm):
    """Identity; the next linear layers apply the norm, which they have as `norm_before`."""

    def forward(self, rows: Tensor) -> Tensor:
        """The input."""
        return rows

    def then_linear(self, rows: Tensor, *layers: nn.Linear) -> Tensor:
        """(..., D), before the norm, to (..., O): outputs of linear layers of the norm, concatenated."""
        biases = [layer.bias for layer in layers if layer.bias is not None]
        parameters = *(layer.weight for layer in layers), *biases
        output: Tensor = _LinearOfNorm.apply(  # type: ignore[no-untyped-call]
            rows, self.weight, self.bias, self.eps, _autocast_dtype(rows), len(layers), *parameters
        )
        return output


class LinearOfNorm(nn.Linear):
    """A linear layer that applies the norm before it."""

    norm_before: tuple[DeferredLayerNorm]  # in a tuple, so that it is not a child of this module

    def forward(self, rows: Tensor) -> Tensor:
        """(..., D), before the norm, to (..., O)."""
        return self.norm_before[0].then_linear(rows, self)


class _LinearOfNorm(torch.autograd.Function):
    """See `DeferredLayerNorm.then_linear`."""

    @staticmethod
    def forward(
        ctx: Any,
        rows: Tensor,
        scale: Tensor,
        shift: Tensor,
        eps: float,
        dtype: torch.dtype,
        num_layers: int,
        *parameters: Tensor,
    ) -> Tensor:
        weights, biases = parameters[:num_layers], parameters[num_layers:]
        ctx.save_for_backward(rows, scale, shift, *weights)  # not concatenated: that copy would be kept too
        ctx.eps, ctx.dtype = eps, dtype
        normed = F.layer_norm(rows, scale.shape, scale, shift, eps)
        bias = torch.cat(biases).to(dtype) if biases else None
        return F.linear(normed.to(dtype), torch.cat(weights).to(dtype), bias)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_output: Tensor) -> tuple[Tensor | None, ...]:
        rows, scale, shift, *weights = ctx.saved_tensors
        needs_rows, needs_scale, needs_shift, _, _, _, *needs_parameters = ctx.needs_input_grad
        needs_weights, needs_biases = needs_parameters[: len(weights)], needs_parameters[len(weights) :]
        shape, sizes = list(scale.shape), [len(weight) for weight in weights]
        normed, *moments = torch.native_layer_norm(rows, shape, scale, shift, ctx.eps)
        flat = grad_output.flatten(0, -2)
        grad_weights: list[Tensor | None] = [None] * len(weights)
        if any(needs_weights):
            joint = flat.t() @ normed.flatten(0, -2).to(ctx.dtype)
            grad_weights = list(torch.split(joint.to(weights[0].dtype), sizes))
        grad_biases: list[Tensor | None] = [None] * len(needs_biases)
        if any(needs_biases):
            grad_biases = list(torch.split(flat.sum(0).to(weights[0].dtype), sizes))
        grad_normed = (grad_output @ torch.cat(weights).to(ctx.dtype)).to(rows.dtype)
        needed = [needs_rows, needs_scale, needs_shift]
        grads = torch.ops.aten.native_layer_norm_backward(
            grad_normed, rows, shape, *moments, scale, shift, needed
        )
        return *grads, None, None, None, *grad_weights, *grad_biases


def attention_of_norm(
    self: Any, hidden_states: Tensor, attention_mask: Tensor | None = None, **others: Any
) -> tuple[Tensor, None]:
    """`forward` of a ViT's or CLIP's self-attention that applies the norm before it, in one fused product.

    Args:
        self: has `q_proj`, `k_proj`, `v_proj` and `norm_before`.
        hidden_states: (B, L, D), before the norm.
        attention_mask: as of transformers.
        others: as of transformers.

    Returns:
        (B, L, D).
    """
    joint = self.norm_before[0].then_linear(
        hidden_states, self.q_proj, self.k_proj, self.v_proj
    )  # (B, L, 3D)
    query, key, value = split_heads(joint, self.head_dim, 3)
    share = "attention_dropout" if hasattr(self, "attention_dropout") else "dropout"
    output, _ = attention(
        self,
        query,
        key,
        value,
        attention_mask,
        scaling=self.head_dim**-0.5,
        dropout=getattr(self, share) if self.training else 0.0,
        **others,
    )
    project = self.o_proj if hasattr(self, "o_proj") else self.out_proj
    return project(output.flatten(2)), None
