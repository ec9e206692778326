"""Options of the image encoder, and the backbone that they ask for."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn

from likewise.encoders.pretrained import without_pooler
from likewise.encoders.shared_options import TuningOptions, check_sizes, width_depth_heads
from likewise.errors import ConfigError
from likewise.messages import flag

__all__ = [
    "CONVOLUTIONAL_PATCH_SIZES",
    "STEM_STRIDES",
    "ImageEncoderConfig",
    "ConvolutionalPatches",
    "backbone_config",
    "build_backbone",
    "sinusoidal_positions",
    "new_stem_stride",
    "resnet_depth",
    "stem_stride_of",
]

# A ResNet's 7x7 stride-2 stem and max-pool lose most of a small image: CIFAR accuracy falls by more than ten
# points. As SimCLR (Chen 2020, appendix B.9) we replace both by one 3x3 convolution at 32 px; between 48 and
# 96 px it has stride 2 (still without max-pool), so that the cost stays that of 24 to 48 px. Upper bounds and
# strides.
STEM_STRIDES = ((48, 1), (96, 2))

CONVOLUTIONAL_PATCH_SIZES = (2, 4, 8, 16, 32)

_VIT_PRESETS = {"tiny": (192, 6), "small": (384, 12), "base": (768, 12)}  # width, depth
_RESNET_PRESETS = {"tiny": (32, 18), "small": (64, 18), "base": (64, 50)}  # width, depth
# Blocks of each stage, by the number in a ResNet's name (He 2015, arXiv 1512.03385, table 1; ResNet-8 of
# three stages, so with twice as fine a map, is that of its section 4.2; ResNet-10: few-shot literature).
_RESNET_BLOCKS = {
    8: ((1, 1, 1), "basic"),
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

    stem: Literal["patches", "convolutions"] = "patches"
    """How a ViT begins: a linear map of each patch, or 3x3 convolutions of stride 2 down to the same grid
    (Xiao 2021, arXiv 2106.14881), which learn shapes sooner."""

    width: int | None = None
    """Overrides the preset's width (a ViT's, or the first stage's of a ResNet or ConvNeXt)."""

    depth: int | None = None
    """Overrides the preset's number of layers: any of a ViT, 8, 10, 18, 34, 50, 101 or 152 of a ResNet."""

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
        for name in ("heads", "patch_size", "dropout", "stem"):
            if self.architecture != "vit" and getattr(self, name) not in (None, 0, "patches"):
                raise ConfigError(
                    f"{flag('image', name)} is for a ViT alone; a {self.architecture} has none."
                )
        if self.stem != "patches" and (self.pretrained or self.own):
            raise ConfigError(
                "--image.stem: a pre-trained network, and one of your own, begins as it does; leave it out."
            )
        if self.architecture == "convnext" and self.depth is not None:
            raise ConfigError("--image.depth is a ViT's or a ResNet's; a convnext has that of its preset.")
        if self.architecture == "resnet" and self.depth not in (None, *_RESNET_BLOCKS):
            known = ", ".join(map(str, _RESNET_BLOCKS))
            raise ConfigError(f"--image.depth is {self.depth}; a resnet has one of {known}.")


def resnet_depth(config: Any) -> int | None:
    """The number in the name of a ResNet of this transformers configuration; None for other shapes."""
    shape = (tuple(config.depths), config.layer_type)
    return next((depth for depth, known in _RESNET_BLOCKS.items() if known == shape), None)


def new_stem_stride(config: ImageEncoderConfig) -> int | None:
    """Stride of the 3x3 convolutions in place of the original stem or patches; None for the original."""
    if config.architecture == "vit" and config.stem == "convolutions":
        return 2
    return stem_stride_of(config.image_size) if config.architecture == "resnet" else None


def stem_stride_of(image_size: int) -> int | None:
    """Stride of a ResNet's stem for images of that side; None for the original stem."""
    return next((stride for below, stride in STEM_STRIDES if image_size < below), None)


def backbone_config(config: ImageEncoderConfig) -> Any:
    """The transformers configuration of our options."""
    from transformers import ConvNextConfig, ResNetConfig, ViTConfig

    if config.architecture == "vit":
        width, depth, heads = width_depth_heads(config, "image", _VIT_PRESETS)
        patch = config.patch_size or (16 if config.image_size >= 128 else max(2, config.image_size // 8))
        if config.image_size % patch:
            raise ConfigError(
                f"patches of {patch} px do not tile {config.image_size} px; set --image.patch-size."
            )
        if config.stem == "convolutions" and patch not in CONVOLUTIONAL_PATCH_SIZES:
            sizes = ", ".join(str(one) for one in CONVOLUTIONAL_PATCH_SIZES if config.image_size % one == 0)
            raise ConfigError(
                f"--image.stem convolutions halves the image several times, and patches have {patch} px; set "
                f"--image.patch-size to one of {sizes}."
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
            hidden_sizes=[width * factor * 2**stage for stage in range(len(depths))],
            depths=list(depths),
            layer_type=kind,
        )
    width, depths = _CONVNEXT_PRESETS[config.preset]
    width = config.width or width
    return ConvNextConfig(
        hidden_sizes=[width * 2**stage for stage in range(4)],
        depths=list(depths),
        # At 64 px, patches of 4 leave a 2x2 map after three halvings, patches of 2 a 4x4 map.
        patch_size=4 if stem_stride_of(config.image_size) is None else 2,
        image_size=config.image_size,
    )


def build_backbone(config: Any, stem_stride: int | None, *, pooler: bool = False) -> nn.Module:
    """A new backbone; `stem_stride` is that of the 3x3 convolutions in place of a ResNet's stem or a ViT's
    patches, None for the original."""
    from transformers import AutoModel

    backbone: Any = AutoModel.from_config(config, **({} if pooler else without_pooler(config)))
    if config.model_type == "vit":
        if stem_stride is not None:
            projection = ConvolutionalPatches(config.hidden_size, config.patch_size)
            backbone.embeddings.patch_embeddings.projection = projection
        _start_positions(backbone)
    elif config.model_type == "resnet" and stem_stride is not None:
        stem = backbone.embedder
        stem.embedder.convolution = _convolution(3, config.embedding_size, stem_stride)
        stem.pooler = nn.Identity()
    return backbone  # type: ignore[no-any-return]


def _convolution(inputs: int, outputs: int, stride: int) -> nn.Conv2d:
    """A new 3x3 convolution that is followed by batch norm and ReLU."""
    convolution = nn.Conv2d(inputs, outputs, kernel_size=3, stride=stride, padding=1, bias=False)
    nn.init.kaiming_normal_(convolution.weight, mode="fan_out", nonlinearity="relu")
    return convolution


class ConvolutionalPatches(nn.Conv2d):
    """A ViT's patch embedding by 3x3 convolutions of stride 2, and one of 1x1.

    Xiao et al. 2021, arXiv 2106.14881, section 4: each halves the map and about doubles the width, and is
    followed by batch norm and ReLU. Unlike theirs, the ViT keeps all its layers. The 1x1 convolution is the
    module itself, because transformers reads the type of its `weight`.

    Args:
        dim: D, width of the ViT.
        patch_size: P in pixels, a power of two.
    """

    def __init__(self, dim: int, patch_size: int) -> None:
        super().__init__(dim, dim, kernel_size=1)
        layers: list[nn.Module] = []
        inputs = 3
        for halvings_left in reversed(range(patch_size.bit_length() - 1)):
            outputs = max(1, dim >> halvings_left)
            layers += [_convolution(inputs, outputs, 2), nn.BatchNorm2d(outputs), nn.ReLU()]
            inputs = outputs
        self.convolutions = nn.Sequential(*layers)

    def forward(self, pixels: Tensor) -> Tensor:
        """(B, 3, S, S) to (B, D, S / P, S / P)."""
        return super().forward(self.convolutions(pixels))


@torch.no_grad()
def _start_positions(vit: Any) -> None:
    """Start a ViT's position embeddings at sines and cosines, and its patch embeddings at a like scale.

    They are trained further. Random position embeddings start at a tenth of the patch embeddings' scale: a
    small ViT then stays a bag of patches for thousands of steps, and learns neither shapes nor sides.
    """
    patches, positions = vit.embeddings.patch_embeddings.projection, vit.embeddings.position_embeddings
    nn.init.xavier_uniform_(patches.weight.view(len(patches.weight), -1))
    positions.zero_()  # (1, 1 + g g, D); the first is that of the class token
    positions[0, 1:] = sinusoidal_positions(math.isqrt(positions.shape[1] - 1), positions.shape[2])


def sinusoidal_positions(side: int, dim: int) -> Tensor:
    """Sinusoidal position embeddings of a grid's cells: sines and cosines of row and column.

    As in Chen et al. 2021, arXiv 2104.02057, with wavelengths fitted to the grid: from 2 pi to 2 pi g cells.

    Args:
        side: g, cells along each side.
        dim: D, their width.

    Returns:
        (g g, D) in [-1, 1]; zeros in the last D mod 4 columns.
    """
    width = dim // 4
    rates = float(side) ** -(torch.arange(width) / width)
    angles = torch.arange(side)[:, None] * rates  # (g, D / 4)
    places = torch.cat([angles.sin(), angles.cos()], dim=1)  # (g, D / 2)
    by_row = places[:, None].expand(side, side, -1)
    by_column = places[None].expand(side, side, -1)
    return nn.functional.pad(torch.cat([by_row, by_column], dim=2).flatten(0, 1), (0, dim % 4))
