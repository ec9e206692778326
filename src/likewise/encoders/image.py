"""Image encoders: a ViT, a ResNet or a ConvNeXt of Hugging Face transformers with its pooling.

Dimensions: B batch, S side in pixels, N patches (or cells of the last feature map), D width of the features.
"""

from __future__ import annotations

from typing import Any, ClassVar, NamedTuple

import torch
from torch import Tensor, nn

from likewise.encoders.backbone_spec import check_choice, check_size, config_from_spec, shown
from likewise.encoders.fast.install import install_fast_layers
from likewise.encoders.image_backbones import (
    CONVOLUTIONAL_PATCH_SIZES,
    STEM_STRIDES,
    ImageEncoderConfig,
    backbone_config,
    build_backbone,
    new_stem_stride,
    resnet_depth,
    stem_stride_of,
)
from likewise.encoders.own import OWN, OwnBackbone, own_backbone
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
from likewise.encoders.unused_weights import freeze_unused
from likewise.errors import ConfigError, ModelError
from likewise.views import center_view

__all__ = [
    "IMAGENET_MEAN",
    "IMAGENET_STD",
    "ImageEncoder",
    "ImageEncoderConfig",
    "ImageFeatures",
    "resnet_depth",
]

# The parts of a spec beside the backbone.
_OPTIONS = ("image_size", "stem_stride", "pooling", "mean", "std")
_MAX_IMAGE_SIZE = 1 << 13


class ImageFeatures(NamedTuple):
    """What an image encoder returns.

    Attributes:
        pooled: (B, D), one vector per image.
        tokens: (B, N, D), one vector per patch or cell, row by row, without [CLS].
    """

    pooled: Tensor
    tokens: Tensor


_BY_COLUMN: dict[str, type[ImageEncoder]] = {}
"""Encoders of other columns."""


class ImageEncoder(nn.Module):
    """A backbone of transformers with its pooling.

    Subclasses read another column as images: sounds as spectrograms.

    Args:
        backbone: the transformers model.
        image_size: side of its inputs in pixels.
        stem_stride: stride of the 3x3 convolutions that replace a ResNet's stem or a ViT's patch embedding;
            None for the original.
        pooling: `mean` of the tokens; `own`: the output of a ViT's pooler; `cls`: [CLS] or, where a backbone
            was trained through a pooling of its own, the output of that.
        mean, std: normalization of the pixels, per channel, in [0, 1] units.
    """

    column: ClassVar[str] = "image"
    """The column that it reads."""

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        _BY_COLUMN[cls.column] = cls

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
            own = own_backbone("image", config.own, new=True, image_size=config.image_size)
            return cls(own, image_size=config.image_size, pooling="own", **own.normalization)
        if config.pretrained is not None:
            backbone, mean, std = load_vision_model(config.pretrained, config.image_size)
            pooling, size = pooling_of(backbone.config), config.image_size
            encoder = cls(backbone, image_size=size, pooling=pooling, mean=mean, std=std)
            encoder.freeze_unused()
            return encoder
        stride = new_stem_stride(config)
        return cls(
            build_backbone(backbone_config(config), stride),
            image_size=config.image_size,
            stem_stride=stride,
            pooling=config.pooling,
        )

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
        reads = spec.get("column", "image")
        if isinstance(reads, str) and reads != cls.column and reads in _BY_COLUMN:
            return _BY_COLUMN[reads].from_spec(spec)
        options = {name: spec[name] for name in _OPTIONS}
        check_size("image_size", spec["image_size"], most=_MAX_IMAGE_SIZE)
        check_choice("stem_stride", spec["stem_stride"], (None, *(stride for _, stride in STEM_STRIDES)))
        check_choice("pooling", spec["pooling"], ("mean", "cls", "own"))
        for name in ("mean", "std"):
            channels = spec[name]
            numbers = isinstance(channels, list) and all(isinstance(one, (int, float)) for one in channels)
            if not numbers or len(channels) != 3 or not all(abs(one) < 1e3 for one in channels):
                raise ModelError(f"{name} is {shown(channels)}; expected three numbers")
        if isinstance(stored := spec["backbone"], dict) and stored.get("model_type") == OWN:
            name = str(stored.get("name"))
            return cls(own_backbone("image", name, image_size=spec["image_size"]), **options)
        config = config_from_spec(stored, known=VISION_MODELS)
        if config.model_type == "vit" and spec["stem_stride"] is not None:
            check_choice("stem_stride", spec["stem_stride"], (2,))
            check_choice("patch_size", config.patch_size, CONVOLUTIONAL_PATCH_SIZES)
        pooler = spec["pooling"] == "own"
        return cls(build_backbone(config, spec["stem_stride"], pooler=pooler), **options)

    def resize(self, image_size: int) -> None:
        """Change the image size; a ViT's positions are interpolated once.

        Raises:
            ConfigError: a ResNet's stem is made for other sizes, or a ViT's patches do not tile that size.
        """
        small_stem = self.convolutional and self.stem_stride is not None  # a ViT's serves all sizes
        if small_stem and stem_stride_of(image_size) != self.stem_stride:
            sizes = [size for size in range(8, 2048) if stem_stride_of(size) == self.stem_stride]
            more = f"to {sizes[-1]}" if stem_stride_of(sizes[-1] + 1) != self.stem_stride else "or more"
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

    @property
    def has_patches(self) -> bool:
        """Whether it is a ViT that begins with a linear map of patches."""
        return not self.convolutional and self.stem_stride is None

    def freeze_patches(self) -> None:
        """Freeze a ViT's patch embedding."""
        self.backbone.embeddings.patch_embeddings.requires_grad_(False)

    def whole_view(self, stored: Tensor) -> Tensor:
        """(B, 3, S', S') uint8 squares to the (B, 3, S, S) that `forward` takes, without randomness."""
        return center_view(stored, size=self.image_size, mean=self.mean, std=self.std)

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
