"""Pre-trained vision models of transformers: the supported ones, how they differ, and what they read."""

from __future__ import annotations

import math
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor, nn

from likewise.encoders.own import OwnBackbone
from likewise.encoders.pretrained import load_backbone, load_config, read_config
from likewise.errors import ConfigError

__all__ = [
    "IMAGENET_MEAN",
    "IMAGENET_STD",
    "VISION_MODELS",
    "ImageInputs",
    "PretrainedVision",
    "feature_dim",
    "is_convolutional",
    "is_pooled_by_itself",
    "load_vision_model",
    "model_inputs",
    "num_prefix_tokens",
    "pooling_of",
    "read_image_inputs",
    "resize_positions",
]

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
_FAMILY_NORMALIZATION = {
    "clip": ((0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)),
    "siglip": ((0.5,) * 3, (0.5,) * 3),
}
_USUAL_SIDE = 224

# Tokens before the patches: [CLS], and DeiT's distillation token. Registers are counted by the configuration.
_PREFIX_TOKENS = {
    "beit": 1,
    "chinese_clip_vision_model": 1,
    "clip_vision_model": 1,
    "deit": 2,
    "dinov2": 1,
    "dinov2_with_registers": 1,
    "dinov3_vit": 1,
    "ijepa": 0,
    "siglip2_vision_model": 0,
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


class ImageInputs(NamedTuple):
    """The images that a pre-trained model reads.

    Attributes:
        size: side in pixels.
        fit: how they become square: crop, or squash.
        mean, std: normalization of the pixels, per channel, in [0, 1] units.
    """

    size: int
    fit: Literal["crop", "squash"]
    mean: tuple[float, ...]
    std: tuple[float, ...]


def feature_dim(config: Any) -> int:
    """The width of the features of a model of this configuration."""
    sizes = getattr(config, "hidden_sizes", None)
    return int(sizes[-1]) if sizes is not None else int(config.hidden_size)


def is_convolutional(config: Any) -> bool:
    """Whether a model of this configuration returns a feature map, not tokens."""
    return config.model_type in (*_CONVOLUTIONAL, _CLAP)


def num_prefix_tokens(config: Any) -> int:
    """The number of tokens before the patches, of a Transformer of this configuration."""
    prefix = {**_PREFIX_TOKENS, _AST: 2}
    return prefix.get(config.model_type, 0) + int(getattr(config, "num_register_tokens", 0))


def is_pooled_by_itself(config: Any) -> bool:
    """Whether a Transformer was trained through its own pooling, and not through a token's state."""
    if config.model_type in ("siglip2_vision_model", "siglip_vision_model"):
        return bool(config.vision_use_head)
    return config.model_type in ("beit", "chinese_clip_vision_model", "clip_vision_model", _AST)


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
    """Mean and deviation of a model's image processor; its family's where it has none."""
    inputs = read_image_inputs(name)
    return inputs.mean, inputs.std


def read_image_inputs(name: str) -> ImageInputs:
    """The images that a pre-trained model reads, by its image processor and its configuration.

    Args:
        name: a folder or hub name of an image model, or of a model of two towers.

    Raises:
        ConfigError: its files cannot be read.
    """
    from transformers.image_processing_base import ImageProcessingMixin

    own = read_config(name, section="image")
    config = getattr(own, "vision_config", own)
    try:
        # From the file: the class that it names may need torchvision.
        values, _ = ImageProcessingMixin.get_image_processor_dict(name)
    except (OSError, ValueError):  # folders without preprocessor_config.json are common
        values = {}
    family = "siglip" if "siglip" in config.model_type else "clip" if "clip" in config.model_type else ""
    mean, std = _FAMILY_NORMALIZATION.get(family, (IMAGENET_MEAN, IMAGENET_STD))
    if values.get("do_normalize") is False:
        mean, std = (0.0,) * 3, (1.0,) * 3
    size = values.get("size") or {}
    crops = values.get("do_center_crop", family != "siglip") or "shortest_edge" in size
    return ImageInputs(
        size=_side(values.get("crop_size") if values.get("do_center_crop") else None)
        or _side(size)
        or _stored_side(config)
        or _USUAL_SIDE,
        fit="crop" if crops else "squash",
        mean=tuple(values.get("image_mean") or mean),
        std=tuple(values.get("image_std") or std),
    )


def _side(size: Any) -> int | None:
    """The side in pixels of the `size` of an image processor, a number or an object; None where there is
    none."""
    if isinstance(size, dict):
        size = size.get("height") or size.get("shortest_edge")
    return size if isinstance(size, int) and not isinstance(size, bool) and size > 0 else None


def _stored_side(config: Any) -> int | None:
    """The side in pixels that a model was stored for."""
    if config.model_type == "siglip2_vision_model":
        return int(config.patch_size * math.isqrt(config.num_patches))
    return _side(getattr(config, "image_size", None))


def model_inputs(config: Any, pixels: Tensor) -> dict[str, Tensor | None]:
    """The arguments of a backbone's forward pass.

    Args:
        config: of the backbone.
        pixels: (B, 3, S, S).

    Returns:
        The pixels; of a SigLIP 2 its patches (B, N, 3 P P), and their rows and columns (B, 2).
    """
    if config.model_type != "siglip2_vision_model":
        return {"pixel_values": pixels}
    side, patch = pixels.shape[-1], config.patch_size
    cells = side // patch
    rows = pixels.reshape(-1, 3, cells, patch, cells, patch)
    patches = rows.permute(0, 2, 4, 3, 5, 1).flatten(3).flatten(1, 2)  # channels last within a patch
    grid = torch.full((len(pixels), 2), cells, dtype=torch.int64)  # on the CPU, where it is read
    return {"pixel_values": patches, "pixel_attention_mask": None, "spatial_shapes": grid}


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
    if isinstance(backbone, OwnBackbone):
        raise ConfigError(
            f"--image.image-size {image_size}: {backbone.config.name} reads images of "
            f"{backbone.network.image_size} px; leave the option out."
        )
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
