"""One model of transformers for two towers: CLIPModel or VisionTextDualEncoderModel, where they hold them.

Both project without a bias, and take as pooled vectors what each encoder's class gives as `pooler_output`.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import torch
from torch import nn

from likewise.encoders.tokenizer import TextTokenizer
from likewise.export.towers import ImageTower, TextTower, image_tower, text_tower
from likewise.networks.base import Network
from likewise.networks.dual import DualNetwork

__all__ = ["TwoTowers", "two_towers"]

# Image encoders whose own `pooler_output` is our pooled vector, of (B, D).
_POOLED_ALIKE = ("beit", "clip_vision_model", "convnext", "convnextv2", "dinov2", "dinov2_with_registers")
# Pairs that transformers has a class for; others are a VisionTextDualEncoder.
_MADE_OF = {
    ("clip_vision_model", "clip_text_model"): "CLIP",
    ("chinese_clip_vision_model", "chinese_clip_text_model"): "ChineseCLIP",
    ("siglip_vision_model", "siglip_text_model"): "Siglip",
}
_NO_END = "transformers' CLIPTextModel would not find the end token of this tokenizer"
# A pooler of [CLS] by a layer whose activation can be named; and one that is always tanh.
_OPEN_POOLER, _TANH_POOLER = ("vit",), ("bert", "camembert", "roberta", "xlm-roberta")
# tanh(x s) / s is x for small s: the relative error is (x s)^2 / 3, below float32's rounding for |x| up to 3.
_SMALL = 2.0**-13


class TwoTowers(NamedTuple):
    """A model of both.

    Attributes:
        model: of transformers.
        processor: the name of its processor's class.
        notes: on parts that are not in it.
        length: tokens that all texts are padded to; None where that does not matter.
    """

    model: Any
    processor: str
    notes: list[str]
    length: int | None


def two_towers(network: Network, tokenizer: TextTokenizer) -> TwoTowers | str:
    """The model, with all weights; or why there is none.

    Args:
        network: of plain layers.
        tokenizer: of its texts.
    """
    image, text = image_tower(network), text_tower(network)
    if image is None or text is None or not isinstance(network, DualNetwork):
        return f"a network of kind {network.kind!r} does not consist of two towers"
    vision_config, text_config = image.encoder.backbone.config, text.encoder.backbone.config
    kinds = vision_config.model_type, text_config.model_type
    one = _MADE_OF.get(kinds)
    if one is None:
        one, reason = "VisionTextDualEncoder", image.misfit or text.misfit or _reason(image, text, tokenizer)
    else:
        reason = _reason_of_one(one, text, tokenizer)
    if reason is not None:
        return reason
    vision, words = vision_config.to_dict(), text_config.to_dict()
    if kinds[0] in _OPEN_POOLER and image.encoder.pooling == "cls":
        vision |= {"pooler_act": "linear", "pooler_output_size": image.encoder.dim}
    if image.encoder.convolutional:
        vision["hidden_size"] = image.encoder.dim  # of several
    import transformers

    config = getattr(transformers, f"{one}Config")(
        text_config=words, vision_config=vision, projection_dim=network.dim
    )
    made: Any = getattr(transformers, f"{one}Model")(config)
    _fill(made.vision_model, image.encoder.backbone, scale=1.0)
    scaled = _fill(made.text_model, text.encoder.backbone, scale=_SMALL)
    if image.projection is not None and text.projection is not None:
        made.visual_projection.load_state_dict(image.projection.state_dict())
        made.text_projection.load_state_dict(text.projection.state_dict())
    if scaled:
        with torch.no_grad():
            made.text_projection.weight /= _SMALL
    length = None if text.encoder.padded_with is None else int(text_config.max_position_embeddings)
    return TwoTowers(made.eval(), f"{one}Processor", _set_scale(made, network), length)


def _set_scale(made: Any, network: DualNetwork) -> list[str]:
    """Give it temperature and bias; returns notes on what is missing."""
    notes = []
    with torch.no_grad():
        if network.temperature is None:
            notes.append(
                "The learned temperature is not part of the trained model; logit_scale is CLIP's first."
            )
        else:
            made.logit_scale.fill_(-math.log(network.temperature))
        if network.bias is not None and hasattr(made, "logit_bias"):
            made.logit_bias.fill_(network.bias)
        elif network.bias is not None:
            notes.append(f"The bias of the sigmoid loss, {network.bias:.2f}, is not in it.")
    return notes


def _reason_of_one(one: str, text: TextTower, tokenizer: TextTokenizer) -> str | None:
    """Why a pair of encoders of one published kind is not a model of that kind; None where it is."""
    config = text.encoder.backbone.config
    pooling = {"CLIP": "last", "ChineseCLIP": "first", "Siglip": "own"}[one]
    if text.pooling != pooling or text.encoder.normalize:
        return f"transformers' {one}Model does not pool texts by {text.pooling}"
    return _NO_END if one == "CLIP" and not _finds_end(config, tokenizer) else None


def _reason(image: ImageTower, text: TextTower, tokenizer: TextTokenizer) -> str | None:
    """Why no class of transformers holds both; None where one does."""
    vision, words = image.encoder.backbone.config, text.encoder.backbone.config
    kinds = f"a {vision.model_type} with a {words.model_type}"
    if image.projection is None or text.projection is None:
        return f"transformers has no class for {kinds} without projections"
    if image.projection.bias is not None or text.projection.bias is not None:
        return "transformers' classes of two towers project without a bias"
    by_token = vision.model_type in _OPEN_POOLER and image.encoder.pooling in ("cls", "own")
    if not by_token and not (
        vision.model_type in _POOLED_ALIKE and (image.encoder.convolutional or image.encoder.pooling == "cls")
    ):
        if image.encoder.convolutional:
            return f"transformers' classes of two towers take no {vision.model_type}"
        pooling = image.encoder.pooling
        return f"transformers' classes of two towers do not pool a {vision.model_type} by {pooling}"
    if text.encoder.normalize:
        return "transformers' classes of two towers do not normalize before the projection"
    if words.model_type == "clip_text_model" and text.pooling == "last":
        return None if _finds_end(words, tokenizer) else _NO_END
    if words.model_type in _TANH_POOLER and text.pooling in ("first", "own"):
        return None
    return f"transformers' classes of two towers do not pool a {words.model_type} by {text.pooling}"


def _finds_end(config: Any, tokenizer: TextTokenizer) -> bool:
    """Whether CLIPTextModel's pooling reads the end token: it looks for `eos_token_id`, but where that is 2,
    as in OpenAI's first configurations, for the highest id of the text."""
    end = tokenizer.end_ids[1]
    return end == tokenizer.size - 1 if config.eos_token_id == 2 else end == config.eos_token_id


@torch.no_grad()
def _fill(made: Any, backbone: nn.Module, *, scale: float) -> bool:
    """Give an encoder the weights of one that may lack a pooler, which becomes `scale` times the identity.

    Returns:
        Whether it lacked one.

    Raises:
        ValueError: other weights are missing, or there are more.
    """
    found = made.load_state_dict(backbone.state_dict(), strict=False)
    others = [name for name in found.missing_keys if not name.startswith("pooler.")] + found.unexpected_keys
    if others:
        raise ValueError(f"weights {others} do not fit {type(made).__name__}")
    if found.missing_keys:
        nn.init.eye_(made.pooler.dense.weight)
        made.pooler.dense.weight *= scale
        nn.init.zeros_(made.pooler.dense.bias)
    return bool(found.missing_keys)
