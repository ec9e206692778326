"""Weights of transformers' towers by open_clip's names.

Dimensions: D width of a tower, P width of the shared space, N patches, L tokens.
"""

from __future__ import annotations

import re

import torch
from torch import Tensor, nn

from likewise.errors import ModelError

__all__ = ["projection_matrix", "text_weights", "vision_weights"]

_LAYER = re.compile(r"(?:encoder\.)?layers\.(\d+)\.(.+)\.(weight|bias)")
_IN_LAYER = {
    "layer_norm1": "ln_1",
    "layer_norm2": "ln_2",
    "self_attn.out_proj": "attn.out_proj",
    "mlp.fc1": "mlp.c_fc",
    "mlp.fc2": "mlp.c_proj",
    # Of a plain ViT:
    "layernorm_before": "ln_1",
    "layernorm_after": "ln_2",
    "attention.o_proj": "attn.out_proj",
}
# Rows of one matrix, in this order.
_STACKED = ("q_proj", "k_proj", "v_proj")
_ELSEWHERE = {
    "embeddings.class_embedding": "class_embedding",
    "embeddings.patch_embedding.weight": "conv1.weight",
    "embeddings.position_embedding.weight": "positional_embedding",
    "embeddings.token_embedding.weight": "token_embedding.weight",
    "pre_layrnorm.weight": "ln_pre.weight",
    "pre_layrnorm.bias": "ln_pre.bias",
    "post_layernorm.weight": "ln_post.weight",
    "post_layernorm.bias": "ln_post.bias",
    "final_layer_norm.weight": "ln_final.weight",
    "final_layer_norm.bias": "ln_final.bias",
    # Of a plain ViT:
    "embeddings.cls_token": "class_embedding",
    "embeddings.patch_embeddings.projection.weight": "conv1.weight",
    "embeddings.patch_embeddings.projection.bias": "conv1.bias",
    "embeddings.position_embeddings": "positional_embedding",
    "layernorm.weight": "ln_post.weight",
    "layernorm.bias": "ln_post.bias",
}


def vision_weights(backbone: nn.Module) -> dict[str, Tensor]:
    """Of an image tower, all but its projection.

    Args:
        backbone: a CLIPVisionModel, or a ViTModel without a pooler.

    Raises:
        ModelError: open_clip has no place for a weight.
    """
    weights = _renamed(backbone)
    bias = weights.pop("conv1.bias", None)  # (D,), of a plain ViT
    if bias is not None:
        # open_clip's patches have no bias: the positions add it to each of them instead.
        positions = weights["positional_embedding"][0].clone()  # (1 + N, D)
        positions[1:] += bias
        weights["positional_embedding"] = positions
        weights["class_embedding"] = weights["class_embedding"].flatten()  # (D,)
    return weights


def text_weights(backbone: nn.Module, length: int) -> dict[str, Tensor]:
    """Of a text tower, all but its projection.

    Args:
        backbone: a CLIPTextModel.
        length: L, at which texts are cut. open_clip pads them to all positions, so there are no more.

    Raises:
        ModelError: open_clip has no place for a weight.
    """
    weights = _renamed(backbone)
    return weights | {"positional_embedding": weights["positional_embedding"][:length]}  # (L, D)


def projection_matrix(projection: nn.Linear | None, dim: int) -> Tensor:
    """A projection as open_clip multiplies by it, (D, P); the identity where there is none."""
    return torch.eye(dim) if projection is None else projection.weight.T


def _renamed(backbone: nn.Module) -> dict[str, Tensor]:
    found: dict[str, Tensor] = {}
    stacks: dict[str, dict[str, Tensor]] = {}
    for name, value in backbone.state_dict().items():
        layer = _LAYER.fullmatch(name)
        if layer is None:
            found[_known(_ELSEWHERE, name)] = value
            continue
        number, part, kind = layer.groups()
        block, last = f"transformer.resblocks.{number}", part.rpartition(".")[2]
        if last in _STACKED:
            stacks.setdefault(f"{block}.attn.in_proj_{kind}", {})[last] = value
        else:
            found[f"{block}.{_known(_IN_LAYER, part)}.{kind}"] = value
    return found | {name: torch.cat([parts[one] for one in _STACKED]) for name, parts in stacks.items()}


def _known(names: dict[str, str], name: str) -> str:
    if name not in names:
        raise ModelError(f"open_clip has no place for the weight {name}. Try --format transformers.")
    return names[name]
