"""Pre-trained vision models of transformers: the supported ones, and how they differ."""

from __future__ import annotations

from typing import Any, Literal, NamedTuple

import torch
from torch import nn

from likewise.encoders.pretrained import load_backbone, load_config
from likewise.errors import ConfigError

__all__ = [
    "IMAGENET_MEAN",
    "IMAGENET_STD",
    "VISION_MODELS",
    "PretrainedVision",
    "is_convolutional",
    "is_pooled_by_itself",
    "load_vision_model",
    "num_prefix_tokens",
    "pooling_of",
    "resize_positions",
]

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)

# Tokens before the patches: [CLS], and DeiT's distillation token. Registers are counted by the configuration.
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
VISION_MODELS = (*_PREFIX_TOKENS, *_CONVOLUTIONAL)
"""Supported model types."""

# Of sounds: [CLS] and the distillation token of AST; CLAP's audio tower returns a feature map.
_AST, _CLAP = "audio-spectrogram-transformer", "clap_audio_model"


class PretrainedVision(NamedTuple):
    """A pre-trained model and its normalization.

    Attributes:
        backbone: the transformers model, in float32, at the wanted image size.
        mean, std: normalization of the pixels, per channel, in [0, 1] units.
    """

    backbone: Any
    mean: tuple[float, ...]
    std: tuple[float, ...]


def is_convolutional(config: Any) -> bool:
    """Whether a model of this configuration returns a feature map, not tokens."""
    return config.model_type in (*_CONVOLUTIONAL, _CLAP)


def num_prefix_tokens(config: Any) -> int:
    """The number of tokens before the patches, of a Transformer of this configuration."""
    return {**_PREFIX_TOKENS, _AST: 2}[config.model_type] + int(getattr(config, "num_register_tokens", 0))


def is_pooled_by_itself(config: Any) -> bool:
    """Whether a Transformer was trained through its own pooling, and not through a token's state."""
    has_head = config.model_type == "siglip_vision_model" and config.vision_use_head
    return has_head or config.model_type in ("clip_vision_model", "beit", _AST)


def pooling_of(config: Any) -> Literal["mean", "cls"]:
    """How a pre-trained model of this configuration is pooled; a pooling of its own counts as `cls`."""
    if is_convolutional(config):
        return "mean"
    return "cls" if num_prefix_tokens(config) or is_pooled_by_itself(config) else "mean"


def load_vision_model(name: str, image_size: int) -> PretrainedVision:
    """A pre-trained model by hub name or folder, its positions interpolated to `image_size`.

    Raises:
        ConfigError: it cannot be loaded, is not supported, or cannot take images of that size.
    """
    config = load_config(name, section="image", known=VISION_MODELS)
    backbone = load_backbone(name, config, section="image")
    if getattr(config, "image_size", image_size) != image_size:
        resize_positions(backbone, image_size)
    return PretrainedVision(backbone, *_normalization(name))


def _normalization(name: str) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and deviation of a model's image processor; ImageNet's where it has none."""
    from transformers.image_processing_base import ImageProcessingMixin

    try:
        # From the file: the class that it names may need torchvision.
        values, _ = ImageProcessingMixin.get_image_processor_dict(name)
    except (OSError, ValueError):  # folders without preprocessor_config.json are common
        values = {}
    return tuple(values.get("image_mean") or IMAGENET_MEAN), tuple(values.get("image_std") or IMAGENET_STD)


def resize_positions(backbone: Any, image_size: int) -> None:
    """Interpolate a ViT's position embeddings once, so that later forward passes need not.

    Args:
        backbone: changed in place; a model without position embeddings stays as it is.
        image_size: side in pixels.

    Raises:
        ConfigError: the patches do not tile that size, or the positions cannot be interpolated.
    """
    if is_convolutional(backbone.config):
        return
    embeddings, patch = backbone.embeddings, backbone.config.patch_size
    if image_size % patch:
        raise ConfigError(
            f"--image.image-size {image_size}: the model's patches of {patch} px do not tile it; "
            f"try --image.image-size {max(1, round(image_size / patch)) * patch}."
        )
    if backbone.config.model_type == "beit":
        raise ConfigError(
            f"--image.image-size {image_size}: a BEiT's relative positions are for one image size; "
            f"use --image.image-size {backbone.config.image_size}."
        )
    cells = (image_size // patch) ** 2
    if hasattr(embeddings, "interpolate_pos_encoding"):  # others rotate queries and keys instead
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
