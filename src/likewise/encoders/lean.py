"""Parts of transformers' layers in the form that training wants: the same values, less kept, quicker draws.

`make_lean` puts them into a backbone; names and weights stay as they are.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

__all__ = ["Dropout", "LayerNormBeforeMaps", "LinearOfGELU", "as_multiplied", "dropout", "make_lean"]


# Norms whose results linear maps alone read.
_NORMS_BEFORE_MAPS = ("layernorm_before", "layernorm_after", "layer_norm1", "layer_norm2")


def make_lean(backbone: Any) -> None:
    """Put the parts below into a transformers model, wherever it has what they stand for."""
    gelu = getattr(backbone.config, "hidden_act", None) == "gelu"  # some models call it otherwise
    modules: list[Any] = list(backbone.modules())
    for module in modules:
        for name, child in list(module.named_children()):
            if type(child) is nn.Dropout:
                setattr(module, name, Dropout(child.p))
            elif type(child) is nn.LayerNorm and name in _NORMS_BEFORE_MAPS:
                setattr(module, name, LayerNormBeforeMaps.of(child))
        if not gelu:
            continue
        if hasattr(module, "activation_fn") and type(getattr(module, "fc2", None)) is nn.Linear:  # CLIP, ViT
            module.activation_fn, module.fc2 = nn.Identity(), LinearOfGELU.of(module.fc2)
        inner: Any = getattr(module, "intermediate", None)
        if hasattr(inner, "intermediate_act_fn") and type(module.output.dense) is nn.Linear:  # BERT
            inner.intermediate_act_fn = nn.Identity()
            module.output.dense = LinearOfGELU.of(module.output.dense)


def as_multiplied(rows: Tensor) -> Tensor:
    """Rows in the dtype that autocast multiplies in; for rows that several maps read, each of which would
    otherwise make and keep its own copy."""
    device = rows.device.type
    if rows.dtype != torch.float32 or not torch.is_autocast_enabled(device):
        return rows
    return rows.to(torch.get_autocast_dtype(device))


class LayerNormBeforeMaps(nn.LayerNorm):
    """A norm, computed as ever, whose result is `as_multiplied`."""

    @classmethod
    def of(cls, norm: nn.LayerNorm) -> LayerNormBeforeMaps:
        """With the very weights of a norm."""
        made = cls(norm.normalized_shape, norm.eps, device="meta")
        made.weight, made.bias = norm.weight, norm.bias
        return made

    def forward(self, rows: Tensor) -> Tensor:
        """(..., D) to (..., D)."""
        return as_multiplied(super().forward(rows))


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


class Dropout(nn.Dropout):
    """`nn.Dropout` by `dropout`."""

    def forward(self, rows: Tensor) -> Tensor:
        """Any shape."""
        return dropout(rows, self.p) if self.training else rows


def dropout(rows: Tensor, share: float) -> Tensor:
    """Zero a random share of the values and scale the others up, as `F.dropout` in training.

    On a processor 16 random bits decide on a value: a third of the time that PyTorch's takes with a uniform
    number for each, and one byte to keep instead of four. The share is rounded to 1/65536.

    Args:
        rows: any shape, float.
        share: in [0, 1].
    """
    dropped = round(share * 2**16)
    if rows.device.type != "cpu" or dropped in (0, 2**16):
        return F.dropout(rows, share)
    count = rows.numel()
    bits = torch.empty((count + 3) // 4, dtype=torch.int64).random_(-(2**63), None).view(torch.int16)
    kept = (bits[:count] >= dropped - 2**15).view(rows.shape)
    return rows.mul(kept).mul_(2**16 / (2**16 - dropped))
