"""Image encoders: a ViT, a ResNet or a ConvNeXt of Hugging Face transformers with its pooling.

Dimensions: B batch, S side in pixels, N patches (or cells of the last feature map), D width of the features.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor, nn

from likewise.encoders.backbone_spec import check_choice, check_size, config_from_spec, shown
from likewise.encoders.fast.install import install_fast_layers
from likewise.encoders.own import OWN, OwnBackbone, own_backbone
from likewise.encoders.pretrained import without_pooler
from likewise.encoders.pretrained_vision import (
    IMAGENET_MEAN,
    IMAGENET_STD,
    VISION_MODELS,
    feature_dim,
    is_convolutional,
    is_pooled_by_itself,
    load_vision_model,
    model_inputs,
    num_prefix_tokens,
    pooling_of,
    resize_positions,
)
from likewise.encoders.transformer_sizes import check_sizes, width_depth_heads
from likewise.encoders.tuning_options import TuningOptions
from likewise.encoders.unused_weights import freeze_unused
from likewise.errors import ConfigError, ModelError
from likewise.messages import flag

__all__ = [
    "IMAGENET_MEAN",
    "IMAGENET_STD",
    "ImageEncoder",
    "ImageEncoderConfig",
    "ImageFeatures",
    "resnet_depth",
]

# A ResNet's 7x7 stride-2 stem and max-pool lose most of a small image: CIFAR accuracy falls by more than ten
# points. As SimCLR (Chen 2020, appendix B.9) we replace both by one 3x3 convolution at 32 px; between 48 and
# 96 px it has stride 2 (still without max-pool), so that the cost stays that of 24 to 48 px. Upper bounds and
# strides.
_STEM_STRIDES = ((48, 1), (96, 2))

# The parts of a spec beside the backbone.
_OPTIONS = ("image_size", "stem_stride", "pooling", "mean", "std")
_MAX_IMAGE_SIZE = 1 << 13

_VIT_PRESETS = {"tiny": (192, 6), "small": (384, 12), "base": (768, 12)}  # width, depth
_RESNET_PRESETS = {"tiny": (32, 18), "small": (64, 18), "base": (64, 50)}  # width, depth
# Blocks of each stage, by the number in a ResNet's name (He 2015, arXiv 1512.03385, table 1; ResNet-10 is
# from the few-shot literature).
_RESNET_BLOCKS = {
    10: ((1, 1, 1, 1), "basic"),
    18: ((2, 2, 2, 2), "basic"),
    34: ((3, 4, 6, 3), "basic"),
    50: ((3, 4, 6, 3), "bottleneck"),
    101: ((3, 4, 23, 3), "bottleneck"),
    152: ((3, 8, 36, 3), "bottleneck"),
}
_CONVNEXT_PRESETS = {"tiny": (40, (2, 2, 6, 2)), "small": (64, (2, 2, 6, 2)), "base": (96, (3, 3, 9, 3))}


@dataclass(frozen=True, kw_only=True)
class ImageEncoderConfig(TuningOptions):
    """The image encoder."""

    architecture: Literal["vit", "resnet", "convnext"] = "vit"
    """Family of the backbone."""

    preset: Literal["tiny", "small", "base"] = "tiny"
    """Size: vit 192x6, 384x12, 768x12 (width x layers); resnet ResNet-18 of half width, ResNet-18, ResNet-50;
    convnext about 4, 9 and 28 million weights."""

    pretrained: str | None = None
    """A pre-trained model to start from: a local folder or a name on the Hugging Face hub. Its architecture,
    size, patches, pooling and dropout override the other options."""

    image_size: int = 64
    """Side of the square input images, in pixels."""

    patch_size: int | None = None
    """Side of a ViT's patch in pixels; an eighth of the image below 128 px, else 16."""

    width: int | None = None
    """Overrides the preset's width (a ViT's, or the first stage's of a ResNet or ConvNeXt)."""

    depth: int | None = None
    """Overrides the preset's number of layers: any of a ViT, 10, 18, 34, 50, 101 or 152 of a ResNet."""

    heads: int | None = None
    """Overrides the preset's number of attention heads (ViT only); by default one for every 64 of width."""

    pooling: Literal["mean", "cls"] = "mean"
    """The image's vector: the mean of a ViT's patches (better when trained from scratch, Beyer 2022, arXiv
    2205.01580) or its [CLS]. A pre-trained ViT always uses [CLS] (CLIP's after its last norm; BEiT the normed
    mean, SigLIP its attention head), convolutional networks the mean."""

    dropout: float = 0.0
    """Dropout of a ViT, in [0, 1); a pre-trained one keeps its own."""

    def __post_init__(self) -> None:
        """Reject values that cannot work."""
        check_sizes(self, "image", "patch_size", "width", "depth", "heads")
        self.check_tuning("image")
        if self.image_size < 8:
            raise ConfigError(f"--image.image-size is {self.image_size} px; the smallest that works is 8.")
        if self.patch_size is not None and self.image_size % self.patch_size:
            raise ConfigError(
                f"--image.patch-size {self.patch_size} does not divide --image.image-size {self.image_size}; "
                f"try --image.patch-size {math.gcd(self.image_size, 16)}."
            )
        for name in ("heads", "patch_size", "dropout"):
            if self.architecture != "vit" and getattr(self, name):
                raise ConfigError(
                    f"{flag('image', name)} is for a ViT alone; a {self.architecture} has none."
                )
        if self.architecture == "convnext" and self.depth is not None:
            raise ConfigError("--image.depth is a ViT's or a ResNet's; a convnext has that of its preset.")
        if self.architecture == "resnet" and self.depth not in (None, *_RESNET_BLOCKS):
            known = ", ".join(map(str, _RESNET_BLOCKS))
            raise ConfigError(f"--image.depth is {self.depth}; a resnet has one of {known}.")


class ImageFeatures(NamedTuple):
    """What an image encoder returns.

    Attributes:
        pooled: (B, D), one vector per image.
        tokens: (B, N, D), one vector per patch or cell, row by row, without [CLS].
    """

    pooled: Tensor
    tokens: Tensor


class ImageEncoder(nn.Module):
    """A backbone of transformers with its pooling.

    Args:
        backbone: the transformers model.
        image_size: side of its inputs in pixels.
        stem_stride: stride of the 3x3 convolution that replaces a ResNet's stem; None for the original stem.
        pooling: `mean` of the tokens; `own`: the output of a ViT's pooler; `cls`: [CLS] or, where a backbone
            was trained through a pooling of its own, the output of that.
        mean, std: normalization of the pixels, per channel, in [0, 1] units.
    """

    def __init__(
        self,
        backbone: Any,
        *,
        image_size: int,
        stem_stride: int | None = None,
        pooling: str = "cls",
        mean: tuple[float, ...] = IMAGENET_MEAN,
        std: tuple[float, ...] = IMAGENET_STD,
    ) -> None:
        super().__init__()
        self.backbone: Any = backbone
        self.locked = False
        self.image_size = image_size
        self.stem_stride = stem_stride
        self.pooling = pooling
        self.mean = tuple(mean)
        self.std = tuple(std)
        self.dim: int = feature_dim(backbone.config)
        self.convolutional = is_convolutional(backbone.config)
        if self.convolutional:  # oneDNN and cuDNN convolve channels-last without copies
            self.backbone.to(memory_format=torch.channels_last)
        else:
            self.num_prefix_tokens = num_prefix_tokens(backbone.config)
            self.pooled_by_backbone = pooling == "own" or is_pooled_by_itself(backbone.config)
            if not isinstance(backbone, OwnBackbone):
                install_fast_layers(self.backbone)

    @classmethod
    def build(cls, config: ImageEncoderConfig) -> ImageEncoder:
        """A new or a pre-trained encoder.

        Raises:
            ConfigError: the pre-trained model cannot be loaded, or is not a supported image encoder.
        """
        if config.own is not None:
            own = own_backbone("image", config.own, new=True)
            return cls(own, image_size=config.image_size, pooling="own", **own.normalization)
        if config.pretrained is not None:
            backbone, mean, std = load_vision_model(config.pretrained, config.image_size)
            pooling = pooling_of(backbone.config)
            encoder = cls(backbone, image_size=config.image_size, pooling=pooling, mean=mean, std=std)
            encoder.freeze_unused()
            return encoder
        stride = _stem_stride(config.image_size) if config.architecture == "resnet" else None
        backbone = _build_backbone(_backbone_config(config), stride)
        return cls(backbone, image_size=config.image_size, stem_stride=stride, pooling=config.pooling)

    def spec(self) -> dict[str, Any]:
        """What `from_spec` needs, as JSON; no hub is asked again."""
        return {
            "backbone": self.backbone.config.to_dict(),
            "image_size": self.image_size,
            "stem_stride": self.stem_stride,
            "pooling": self.pooling,
            "mean": list(self.mean),
            "std": list(self.std),
        }

    @classmethod
    def from_spec(cls, spec: dict[str, Any]) -> ImageEncoder:
        """The inverse of `spec`, with fresh weights."""
        options = {name: spec[name] for name in _OPTIONS}
        check_size("image_size", spec["image_size"], most=_MAX_IMAGE_SIZE)
        check_choice("stem_stride", spec["stem_stride"], (None, *(stride for _, stride in _STEM_STRIDES)))
        check_choice("pooling", spec["pooling"], ("mean", "cls", "own"))
        for name in ("mean", "std"):
            channels = spec[name]
            numbers = isinstance(channels, list) and all(isinstance(one, (int, float)) for one in channels)
            if not numbers or len(channels) != 3 or not all(abs(one) < 1e3 for one in channels):
                raise ModelError(f"{name} is {shown(channels)}; expected three numbers")
        if isinstance(stored := spec["backbone"], dict) and stored.get("model_type") == OWN:
            return cls(own_backbone("image", str(stored.get("name"))), **options)
        config = config_from_spec(stored, known=VISION_MODELS)
        pooler = spec["pooling"] == "own"
        return cls(_build_backbone(config, spec["stem_stride"], pooler=pooler), **options)

    def resize(self, image_size: int) -> None:
        """Change the image size; a ViT's positions are interpolated once.

        Raises:
            ConfigError: a ResNet's stem is made for other sizes, or a ViT's patches do not tile that size.
        """
        if self.stem_stride is not None and _stem_stride(image_size) != self.stem_stride:
            sizes = [size for size in range(8, 2048) if _stem_stride(size) == self.stem_stride]
            more = f"to {sizes[-1]}" if _stem_stride(sizes[-1] + 1) != self.stem_stride else "or more"
            raise ConfigError(
                f"--image.image-size {image_size}: a ResNet trained at {self.image_size} px has another stem "
                f"than one of that size; {sizes[0]} {more} px will do."
            )
        if image_size != self.image_size:
            resize_positions(self.backbone, image_size)
        self.image_size = image_size

    def freeze_unused(self) -> None:
        """Freeze weights that no feature depends on."""
        freeze_unused(self, torch.zeros(1, 3, self.image_size, self.image_size))

    def train(self, mode: bool = True) -> ImageEncoder:
        """As of nn.Module; a locked encoder stays as in evaluation, without dropout."""
        return super().train(mode and not self.locked)

    def freeze_patches(self) -> None:
        """Freeze a ViT's patch projection."""
        self.backbone.embeddings.patch_embeddings.requires_grad_(False)

    def forward(self, pixels: Tensor) -> ImageFeatures:
        """Encode normalized pixels.

        Args:
            pixels: (B, 3, S, S) float, normalized with `mean` and `std`; S equals `image_size`.

        Returns:
            The pooled vectors and one per patch or cell, neither of unit length.
        """
        if self.convolutional:
            grid = self.backbone(pixels.contiguous(memory_format=torch.channels_last))
            tokens = grid.last_hidden_state.flatten(2).transpose(1, 2)  # (B, N, D)
            return ImageFeatures(grid.pooler_output.flatten(1), tokens)
        output = self.backbone(**model_inputs(self.backbone.config, pixels))
        states = output.last_hidden_state  # (B, 1 + N, D)
        tokens = states[:, self.num_prefix_tokens :]
        if self.pooling == "mean":
            return ImageFeatures(tokens.mean(dim=1), tokens)
        return ImageFeatures(output.pooler_output if self.pooled_by_backbone else states[:, 0], tokens)


def resnet_depth(config: Any) -> int | None:
    """The number in the name of a ResNet of this transformers configuration; None for other shapes."""
    shape = (tuple(config.depths), config.layer_type)
    return next((depth for depth, known in _RESNET_BLOCKS.items() if known == shape), None)


def _stem_stride(image_size: int) -> int | None:
    return next((stride for below, stride in _STEM_STRIDES if image_size < below), None)


def _backbone_config(config: ImageEncoderConfig) -> Any:
    """The transformers configuration of our options."""
    from transformers import ConvNextConfig, ResNetConfig, ViTConfig

    if config.architecture == "vit":
        width, depth, heads = width_depth_heads(config, "image", _VIT_PRESETS)
        patch = config.patch_size or (16 if config.image_size >= 128 else max(2, config.image_size // 8))
        if config.image_size % patch:
            raise ConfigError(
                f"patches of {patch} px do not tile {config.image_size} px; set --image.patch-size."
            )
        return ViTConfig(
            hidden_size=width,
            num_hidden_layers=depth,
            num_attention_heads=heads,
            intermediate_size=4 * width,
            image_size=config.image_size,
            patch_size=patch,
            hidden_dropout_prob=config.dropout,
            attention_probs_dropout_prob=config.dropout,
        )
    if config.architecture == "resnet":
        width, depth = _RESNET_PRESETS[config.preset]
        width = config.width or width
        depths, kind = _RESNET_BLOCKS[config.depth or depth]
        factor = 4 if kind == "bottleneck" else 1
        return ResNetConfig(
            embedding_size=width,
            hidden_sizes=[width * factor * 2**stage for stage in range(4)],
            depths=list(depths),
            layer_type=kind,
        )
    width, depths = _CONVNEXT_PRESETS[config.preset]
    width = config.width or width
    return ConvNextConfig(
        hidden_sizes=[width * 2**stage for stage in range(4)],
        depths=list(depths),
        # At 64 px, patches of 4 leave a 2x2 map after three halvings, patches of 2 a 4x4 map.
        patch_size=4 if _stem_stride(config.image_size) is None else 2,
        image_size=config.image_size,
    )


def _build_backbone(backbone_config: Any, stem_stride: int | None, *, pooler: bool = False) -> nn.Module:
    from transformers import AutoModel

    options = {} if pooler else without_pooler(backbone_config)
    backbone: nn.Module = AutoModel.from_config(backbone_config, **options)
    if stem_stride is not None:
        stem: Any = backbone.embedder
        width = backbone_config.embedding_size
        stem.embedder.convolution = nn.Conv2d(
            3, width, kernel_size=3, stride=stem_stride, padding=1, bias=False
        )
        nn.init.kaiming_normal_(stem.embedder.convolution.weight, mode="fan_out", nonlinearity="relu")
        stem.pooler = nn.Identity()
    return backbone
