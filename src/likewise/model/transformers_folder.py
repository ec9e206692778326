"""Opens a folder that transformers wrote: a model of two towers, an image model or a text model."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import torch
from torch import nn

from likewise.encoders.backbone_spec import check_layers, check_size
from likewise.encoders.image import ImageEncoder, ImageEncoderConfig
from likewise.encoders.pretrained import TWO_TOWERS, load_two_towers, read_config
from likewise.encoders.pretrained_text import (
    TEXT_MODELS,
    build_text_model,
    load_text_tokenizer,
    longest_text,
    padding_read,
)
from likewise.encoders.pretrained_vision import VISION_MODELS, pooling_of, read_image_inputs
from likewise.encoders.text import TextEncoder, TextEncoderConfig
from likewise.encoders.tokenizer import TextTokenizer
from likewise.errors import ConfigError, ModelError
from likewise.networks.base import Network
from likewise.networks.dual import DualNetwork
from likewise.networks.image import ImageNetwork
from likewise.networks.text import TextNetwork

__all__ = ["is_transformers", "read_transformers"]

_MOST_BYTES = 1 << 24
_SPARE_WEIGHTS = 10_000_000
_PREFIXES = ("--image.pretrained: ", "--text.pretrained: ", "--text.tokenizer: ")


def is_transformers(folder: Path) -> bool:
    """Whether its config.json is one of transformers, and not one of a model saved here."""
    file = folder / "config.json"
    try:
        if file.stat().st_size > _MOST_BYTES:
            return False
        config = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return False  # the reader of our own folders says what is wrong
    # The second is in those of timm.
    theirs = isinstance(config, dict) and ("model_type" in config or "pretrained_cfg" in config)
    return theirs and "network" not in config


def read_transformers(folder: Path) -> tuple[Network, dict[str, Any], TextTokenizer | None]:
    """Its network, tokenizer, and what `config.json` of a model here would say but the version of its format.

    Raises:
        ModelError: it is of another kind, lacks a part, or cannot be read.
    """
    name = str(folder)
    try:
        config = read_config(name, section="image")
        _check_size(folder, config)
        if config.model_type in TWO_TOWERS:
            return _two_towers(name, config)
        if config.model_type in VISION_MODELS:
            return _image_model(name, config)
        if config.model_type in TEXT_MODELS:
            return _text_model(name, config)
    except ConfigError as error:
        reason = str(error)
        for prefix in _PREFIXES:
            reason = reason.removeprefix(prefix).replace(repr(name), "it")
        raise ModelError(f"{folder} is a transformers model that cannot be opened: {reason}") from error
    known = ", ".join(sorted((*TWO_TOWERS, *VISION_MODELS, *TEXT_MODELS)))
    raise ModelError(
        f"{folder} is a transformers model of the type {config.model_type!r}, which is not supported; "
        f"supported are {known}."
    )


def _check_size(folder: Path, config: Any) -> None:
    """Reject a configuration of far more weights than the folder has, before their memory is taken."""
    from safetensors import SafetensorError, safe_open

    if config.model_type not in (*TWO_TOWERS, *VISION_MODELS, *TEXT_MODELS):
        return
    stored = 0
    try:
        for file in sorted(folder.glob("*.safetensors")):
            with safe_open(file, framework="pt") as weights:
                shapes = (weights.get_slice(key).get_shape() for key in weights.keys())  # noqa: SIM118
                stored += sum(map(math.prod, shapes))
    except (OSError, SafetensorError):
        return  # whoever loads them says what is wrong
    for half in ("vision_config", "text_config") if config.model_type in TWO_TOWERS else ():
        check_layers(getattr(config, half))
    check_layers(config)
    with torch.device("meta"):
        needed = sum(weight.numel() for weight in build_text_model(config, pooler=True).parameters())
    if stored and needed > 2 * stored + _SPARE_WEIGHTS:
        raise ConfigError(f"its config.json asks for {needed:,} weights, and it has {stored:,}.")


def _two_towers(name: str, config: Any) -> tuple[Network, dict[str, Any], TextTokenizer]:
    whole = load_two_towers(name, section="image")
    # What transformers projects, of towers that know no other than their own pooler.
    own = config.model_type == "vision-text-dual-encoder"
    inputs = read_image_inputs(name)
    image = ImageEncoder(
        whole.vision_model,
        image_size=_stored_size(whole.vision_model.config) or inputs.size,
        pooling=_own_pooling(whole.vision_model) if own else pooling_of(whole.vision_model.config),
        mean=inputs.mean,
        std=inputs.std,
    )
    image.resize(inputs.size)
    text_config = whole.text_model.config
    pooling = TEXT_MODELS.get(text_config.model_type)
    if pooling is None:
        raise ConfigError(f"its text half is a {text_config.model_type}, which is not supported.")
    if own and pooling == "first":
        if getattr(whole.text_model, "pooler", None) is None:
            raise ConfigError(f"its text half, a {text_config.model_type}, has no pooler to project.")
        pooling = "own"
    tokenizer = _tokenizer(name, text_config)
    text = TextEncoder(whole.text_model, pooling=pooling, padded_with=padding_read(name, text_config))
    network = _joined(whole, image, text)
    return network, _described(config, network, inputs.fit, tokenizer), tokenizer


def _joined(whole: Any, image: ImageEncoder, text: TextEncoder) -> DualNetwork:
    """The towers with the projections, the scale and the bias of the whole."""
    projected = hasattr(whole, "visual_projection")
    if not projected and image.dim != text.dim:
        raise ConfigError(f"its images have {image.dim} dimensions, its texts {text.dim}.")
    bias = getattr(whole, "logit_bias", None)
    network = DualNetwork(
        image,
        text,
        dim=whole.visual_projection.out_features if projected else image.dim,
        projected=projected,
        temperature=1.0,
        bias=None if bias is None else 0.0,
    )
    assert network.logit_scale is not None
    with torch.no_grad():
        network.logit_scale.copy_(whole.logit_scale.squeeze())
        if network.logit_bias is not None and bias is not None:
            network.logit_bias.copy_(bias.squeeze())
        for ours, theirs in (("image", "visual"), ("text", "text")) if projected else ():
            layer: Any = getattr(network, f"{ours}_projection")
            layer.weight.copy_(getattr(whole, f"{theirs}_projection").weight)
    image.freeze_unused()
    text.freeze_unused()
    return network


def _own_pooling(backbone: nn.Module) -> str:
    """The pooling of a tower of a VisionTextDualEncoder: a ViT's tanh layer, where it has one."""
    config: Any = backbone.config
    return "own" if config.model_type in ("deit", "vit") else pooling_of(config)


def _image_model(name: str, config: Any) -> tuple[Network, dict[str, Any], None]:
    _check_not_projected(config)
    inputs = read_image_inputs(name)
    encoder = ImageEncoder.build(ImageEncoderConfig(pretrained=name, image_size=inputs.size))
    network = ImageNetwork(encoder)
    return network, _described(config, network, inputs.fit, None), None


def _text_model(name: str, config: Any) -> tuple[Network, dict[str, Any], TextTokenizer]:
    _check_not_projected(config)
    tokenizer = _tokenizer(name, config)
    encoder = TextEncoder.build(TextEncoderConfig(pretrained=name, max_tokens=3), vocabulary_size=1)
    network = TextNetwork(encoder)
    return network, _described(config, network, "crop", tokenizer), tokenizer


def _check_not_projected(config: Any) -> None:
    """Half a CLIP may have a projection, which would be missing."""
    if any("WithProjection" in str(name) for name in config.architectures or ()):
        raise ConfigError(
            f"it is one half of a model with its projection ({config.architectures[0]}); name the whole "
            "model."
        )


def _tokenizer(name: str, config: Any) -> TextTokenizer:
    longest = longest_text(name, config)
    check_size("the longest text", longest)
    tokenizer = load_text_tokenizer(name, max_tokens=longest)
    if tokenizer.size > config.vocab_size:
        raise ConfigError(
            f"the tokenizer has {tokenizer.size:,} entries, the network {config.vocab_size:,}; one of the "
            "two is another model's."
        )
    return tokenizer


def _stored_size(config: Any) -> int | None:
    size = getattr(config, "image_size", None)
    return size if isinstance(size, int) else None


def _described(config: Any, network: Network, fit: str, tokenizer: TextTokenizer | None) -> dict[str, Any]:
    texts = tokenizer and {"max_tokens": tokenizer.max_tokens, "pad_id": tokenizer.pad_id}
    return {
        "method": config.model_type,
        "network": network.spec(),
        "images": None if network.image_encoder is None else {"fit": fit, "store_size": None},
        "texts": texts,
        "trained_on": {},
    }
