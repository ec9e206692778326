"""Parts of transformers' layers in the form that training wants: the same values, less kept, quicker draws.

Names and weights stay as they are.
"""

from __future__ import annotations

from typing import Any

from torch import nn

from likewise.encoders.fast.attention import ATTENTION
from likewise.encoders.fast.dropout import Dropout
from likewise.encoders.fast.fused_linear import (
    DeferredLayerNorm,
    LinearOfGELU,
    LinearOfNorm,
    attention_of_norm,
)

__all__ = ["make_lean"]

_READERS = ("q_proj", "k_proj", "v_proj")
# Of layers whose halves begin with norms: these, and the attention that alone reads the first. ViT, CLIP.
_HALVES = (("layernorm_before", "attention", "layernorm_after"), ("layer_norm1", "self_attn", "layer_norm2"))


def make_lean(backbone: Any) -> None:
    """Put lean parts into a transformers model, wherever it has what they stand for."""
    gelu = getattr(backbone.config, "hidden_act", None) == "gelu"  # some models call it otherwise
    ours = getattr(backbone.config, "_attn_implementation", None) == ATTENTION
    modules: list[Any] = list(backbone.modules())
    for module in modules:
        for name, child in list(module.named_children()):
            if type(child) is nn.Dropout:
                setattr(module, name, Dropout(child.p))
        if ours:
            _leave_norms_to_maps(module)
        if gelu:
            _leave_gelu_to_maps(module)


def _leave_norms_to_maps(layer: Any) -> None:
    """In both halves of a layer, if it is one that begins them with norms."""
    for first, name, second in _HALVES:
        before, attending, after = (getattr(layer, part, None) for part in (first, name, second))
        if type(before) is nn.LayerNorm and _has_maps(attending, *_READERS):
            setattr(layer, first, DeferredLayerNorm.of(before))
            attention_of_norm(attending, getattr(layer, first))
        if type(after) is nn.LayerNorm and _has_maps(getattr(layer, "mlp", None), "fc1"):
            setattr(layer, second, DeferredLayerNorm.of(after))
            layer.mlp.fc1 = LinearOfNorm.of(layer.mlp.fc1, getattr(layer, second))


def _has_maps(module: Any, *names: str) -> bool:
    """Whether these are plain linear maps, all of them with a bias or all without."""
    maps: list[Any] = [getattr(module, name, None) for name in names]
    return all(type(one) is nn.Linear for one in maps) and len({one.bias is None for one in maps}) == 1


def _leave_gelu_to_maps(module: Any) -> None:
    """In a layer's MLP, if the module has one."""
    if hasattr(module, "activation_fn") and _has_maps(module, "fc2"):  # CLIP, ViT
        module.activation_fn, module.fc2 = nn.Identity(), LinearOfGELU.of(module.fc2)
    inner: Any = getattr(module, "intermediate", None)
    if hasattr(inner, "intermediate_act_fn") and _has_maps(module.output, "dense"):  # BERT
        inner.intermediate_act_fn = nn.Identity()
        module.output.dense = LinearOfGELU.of(module.output.dense)
