"""Replaces layers of an encoder by hand-tuned ones, unless the switch is off. Names and weights stay."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

from torch import nn

from likewise.encoders.fast import unpadded_fusion
from likewise.encoders.fast.attention import ATTENTION, register_attention
from likewise.encoders.fast.dropout import Dropout
from likewise.encoders.fast.fused_linear import (
    DeferredLayerNorm,
    LinearOfGELU,
    LinearOfNorm,
    attention_of_norm,
)
from likewise.encoders.fast.switch import enabled
from likewise.encoders.fast.unpadded_bert import forward_of_bert

__all__ = ["install_fast_layers"]

# transformers' models that take any registered attention.
_ATTENTION_IS_OPEN = ("bert", "clip_text_model", "deit", "roberta", "vit", "xlm-roberta")
_PROJECTIONS = ("q_proj", "k_proj", "v_proj")
# Pre-norm layers of ViT and CLIP: the first norm and the attention that alone reads it, the second norm.
_PRE_NORM = (
    ("layernorm_before", "attention", "layernorm_after"),
    ("layer_norm1", "self_attn", "layer_norm2"),
)


def install_fast_layers(encoder: Any) -> None:
    """Install hand-tuned layers wherever an encoder has their plain counterparts.

    Args:
        encoder: a transformers model, or a `FusionEncoder`.
    """
    if not enabled():
        return
    config: Any = encoder.config
    if config.model_type in _ATTENTION_IS_OPEN:
        config._attn_implementation = register_attention()
    is_gelu = getattr(config, "hidden_act", None) == "gelu"  # some models name it otherwise, and stay plain
    for module in list(encoder.modules()):
        if type(module) is nn.Dropout:
            module.__class__ = Dropout
        if config._attn_implementation == ATTENTION:
            _defer_norms(module)
        if is_gelu:
            _fuse_gelu(module)
    if config.model_type == "bert":
        _unpad(encoder)


def _defer_norms(layer: Any) -> None:
    """In a pre-norm layer, if it is one."""
    for first, name, second in _PRE_NORM:
        before, attention, after = (_child(layer, part) for part in (first, name, second))
        if type(before) is nn.LayerNorm and _are_linear(attention, *_PROJECTIONS):
            before.__class__ = DeferredLayerNorm
            _replace_methods(attention, forward=attention_of_norm)
            attention.norm_before = (before,)  # in a tuple, so that it is not a child
        if type(after) is nn.LayerNorm and _are_linear(_child(layer, "mlp"), "fc1"):
            after.__class__ = DeferredLayerNorm
            layer.mlp.fc1.__class__ = LinearOfNorm
            layer.mlp.fc1.norm_before = (after,)


def _fuse_gelu(module: Any) -> None:
    """In a layer's MLP, if the module has one."""
    if hasattr(module, "activation_fn") and _are_linear(module, "fc2"):  # CLIP, ViT
        module.activation_fn, module.fc2.__class__ = nn.Identity(), LinearOfGELU
    inner = _child(module, "intermediate")
    if hasattr(inner, "intermediate_act_fn") and _are_linear(module.output, "dense"):  # BERT
        inner.intermediate_act_fn, module.output.dense.__class__ = nn.Identity(), LinearOfGELU


def _are_linear(module: Any, *names: str) -> bool:
    """Whether these are plain linear layers, all of them with a bias or all without."""
    layers = [_child(module, name) for name in names]
    return all(type(one) is nn.Linear for one in layers) and len({one.bias is None for one in layers}) == 1


def _child(module: Any, name: str) -> Any:
    return getattr(module, name, None)


def _unpad(encoder: Any) -> None:
    """A BERT, or a fusion encoder of BERT layers, computes real tokens alone."""
    from transformers import BertModel

    if isinstance(encoder, BertModel):
        _replace_methods(encoder, forward=forward_of_bert, padded_forward=type(encoder).forward)
    else:
        _replace_methods(encoder, forward=unpadded_fusion.forward, read=unpadded_fusion.read)


def _replace_methods(module: Any, **methods: Callable[..., Any]) -> None:
    """Give one module other methods, by a subclass of its class."""
    if not hasattr(type(module), "is_fast"):
        plain: Any = type(module)
        module.__class__ = _subclass(plain, *methods.items())


@cache
def _subclass(plain: type, *methods: tuple[str, Callable[..., Any]]) -> type:
    # transformers looks up by these names which hidden states a class can return.
    names = {"__module__": plain.__module__, "__qualname__": plain.__qualname__}
    return type(plain.__name__, (plain,), dict(methods) | names | {"is_fast": True})
