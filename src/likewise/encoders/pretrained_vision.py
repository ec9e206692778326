"""Vision models of transformers: which are known here, how they are loaded, and what differs between them."""

from __future__ import annotations

from typing import Any, Literal, NamedTuple

import torch
from torch import nn

from likewise.encoders.fast.attention import attention_of
from likewise.errors import ConfigError
from likewise.messages import first_line

__all__ = [
    "IMAGENET_MEAN",
    "IMAGENET_STD",
    "PretrainedVision",
    "is_convolutional",
    "is_pooled_by_itself",
    "load_vision_model",
    "num_prefix_tokens",
    "pooling_of",
    "resize_positions",
    "unused_parts",
]

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)

# Tokens before those of the patches: [CLS], and DeiT's for distillation; registers come on top of them.
_PREFIX_TOKENS = {
    "beit": 1,
    "clip_vision_model": 1,
    "deit": 2,
    "dinov2": 1,
    "dinov2_with_registers": 1,
    "dinov3_vit": 1,
    "ijepa": 0,
    "siglip_vision_model": 0,
    "vit": 1,
    "vit_msn": 1,
}
_CONVOLUTIONAL = ("convnext", "convnextv2", "regnet", "resnet")


class PretrainedVision(NamedTuple):
    """What a folder or hub name holds.

    Attributes:
        backbone: the transformers model, in float32, at the size of pictures that was asked for.
        mean, std: per channel, in [0, 1] units: what the pixels are normalised with.
    """

    backbone: Any
    mean: tuple[float, ...]
    std: tuple[float, ...]


def is_convolutional(config: Any) -> bool:
    """Whether a model of this configuration returns a map of features, not tokens."""
    return config.model_type in _CONVOLUTIONAL


def num_prefix_tokens(config: Any) -> int:
    """How many tokens of a Transformer of this configuration stand before those of the patches."""
    return _PREFIX_TOKENS[config.model_type] + int(getattr(config, "num_register_tokens", 0))


def is_pooled_by_itself(config: Any) -> bool:
    """Whether a Transformer's own pooling makes the vector that it was trained by; its states are not yet."""
    has_head = config.model_type == "siglip_vision_model" and config.vision_use_head
    return has_head or config.model_type in ("clip_vision_model", "beit")


def pooling_of(config: Any) -> Literal["mean", "cls"]:
    """How a pre-trained model of this configuration is read: what it has in a [CLS]'s stead counts as one."""
    if is_convolutional(config):
        return "mean"
    return "cls" if num_prefix_tokens(config) or is_pooled_by_itself(config) else "mean"


def unused_parts(model_type: str) -> dict[str, Any]:
    """A ViT's pooler (a tanh layer, as BERT's) would be a weight without use: [CLS] is read directly."""
    return {"add_pooling_layer": False} if model_type in ("vit", "deit") else {}


def load_vision_model(name: str, image_size: int) -> PretrainedVision:
    """A pre-trained model by hub name or folder, its positions interpolated to `image_size`.

    Raises:
        ConfigError: it cannot be loaded, is none of those known here, or cannot take pictures of that size.
    """
    from transformers import AutoConfig, AutoModel

    try:
        config = AutoConfig.from_pretrained(name)
    except (OSError, ValueError, ImportError) as error:
        raise _cannot_load(name, error) from error
    _check_known(name, config.model_type)
    try:
        # Weights stay float32 however they were stored: precision is a matter of training.
        backbone = AutoModel.from_pretrained(
            name, dtype=torch.float32, **unused_parts(config.model_type), **attention_of(config.model_type)
        )
    except (OSError, ValueError, ImportError) as error:
        raise _cannot_load(name, error) from error
    if getattr(config, "image_size", image_size) != image_size:
        resize_positions(backbone, image_size)
    return PretrainedVision(backbone, *_normalisation(name))


def _cannot_load(name: str, error: Exception) -> ConfigError:
    return ConfigError(
        f"image.pretrained: cannot load {name!r} ({first_line(error)}). Expected "
        "a folder written by transformers, or a hub name and a network to fetch it with."
    )


def _check_known(name: str, model_type: str) -> None:
    known = (*_PREFIX_TOKENS, *_CONVOLUTIONAL)
    if model_type not in known:
        raise ConfigError(
            f"image.pretrained: {name!r} is a {model_type}, not an image encoder that is known here: "
            f"{', '.join(sorted(known))}."
        )


def _normalisation(name: str) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and deviation that a model's pictures are normalised with; ImageNet's where it does not say."""
    from transformers.image_processing_base import ImageProcessingMixin

    try:
        # Read from the file: the class that it names may want torchvision.
        said, _ = ImageProcessingMixin.get_image_processor_dict(name)
    except (OSError, ValueError):  # folders without preprocessor_config.json are common
        said = {}
    return tuple(said.get("image_mean") or IMAGENET_MEAN), tuple(said.get("image_std") or IMAGENET_STD)


def resize_positions(backbone: Any, image_size: int) -> None:
    """Interpolate a ViT's position embeddings once, so that every later forward is at its native size.

    Args:
        backbone: changed in place; a model without positions of its own stays as it is.
        image_size: side in pixels.

    Raises:
        ConfigError: patches that do not tile that size, or positions that cannot be interpolated.
    """
    if is_convolutional(backbone.config):
        return
    embeddings, patch = backbone.embeddings, backbone.config.patch_size
    if image_size % patch:
        raise ConfigError(
            f"image.image_size {image_size}: the model's patches of {patch} px do not tile it; "
            f"try --image.image-size {max(1, round(image_size / patch)) * patch}."
        )
    if backbone.config.model_type == "beit":
        raise ConfigError(
            f"image.image_size {image_size}: a BEiT's relative positions hold for one size of pictures; "
            f"use --image.image-size {backbone.config.image_size}."
        )
    cells = (image_size // patch) ** 2
    if hasattr(embeddings, "interpolate_pos_encoding"):  # others turn their queries and keys instead
        _interpolate(embeddings, backbone.config, image_size, cells)
    backbone.config.image_size = image_size


def _interpolate(embeddings: Any, config: Any, image_size: int, cells: int) -> None:
    # Registers have no positions.
    num_positions = _PREFIX_TOKENS[config.model_type] + cells
    probe = torch.zeros(1, num_positions, config.hidden_size)
    with torch.no_grad():
        positions = embeddings.interpolate_pos_encoding(probe, image_size, image_size).clone()
    if hasattr(embeddings, "position_embedding"):  # CLIP and SigLIP keep them in an nn.Embedding
        embeddings.position_embedding = nn.Embedding(num_positions, config.hidden_size, _weight=positions[0])
        embeddings.num_positions = num_positions
        embeddings.num_patches = cells
        embeddings.image_size = image_size
        embeddings.position_ids = torch.arange(num_positions)[None]
        return
    embeddings.position_embeddings = nn.Parameter(positions)
    embeddings.image_size = (image_size, image_size)
    embeddings.patch_embeddings.image_size = (image_size, image_size)
    embeddings.patch_embeddings.num_patches = cells
