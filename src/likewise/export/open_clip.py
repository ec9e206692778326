"""The folder of open_clip: its configuration, and weights by its names.

open_clip builds CLIP's image tower (a ViT with a norm before its layers), plain ViTs, and CLIP's causal text
tower by itself. Its other towers are those of timm and of named hub models, which this format does not write.
"""

from __future__ import annotations

import json
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple

import torch

from likewise.data.images.decode import PAD_COLOUR
from likewise.encoders.tokenizer import TextTokenizer
from likewise.errors import ConfigError, ModelError
from likewise.export.open_clip_weights import projection_matrix, text_weights, vision_weights
from likewise.export.plain_network import plain_network
from likewise.export.registry import Code, Written, export_format
from likewise.export.towers import (
    ImageTower,
    TextTower,
    image_tower,
    save_weights,
    text_tower,
    write_json,
    write_tokenizer_files,
)
from likewise.export.usage_code import image_imports, square
from likewise.messages import first_line
from likewise.model.model import Model
from likewise.networks.dual import DualNetwork

__all__ = ["CONFIG_FILE", "WEIGHTS_FILE", "name_on_hub", "write_folder", "write_open_clip"]

CONFIG_FILE = "open_clip_config.json"
WEIGHTS_FILE = "open_clip_model.safetensors"

# Image towers that open_clip builds itself, and what it calls their poolings.
_POOLING = {"clip_vision_model": {"cls": "tok"}, "vit": {"cls": "tok", "mean": "avg"}}
_QUICK = {"quick_gelu": True, "gelu": False}
_RESIZE = {"crop": "shortest", "squash": "squash", "pad": "longest"}
_EPS = 1e-5  # of open_clip's norms, unless told
_ANY_NAME = "OWNER/NAME"  # open_clip takes it for a tokenizer on the hub; from a local folder any will do


class _Towers(NamedTuple):
    network: DualNetwork
    image: ImageTower
    text: TextTower


@export_format(
    "open_clip", "a folder that open_clip opens, of a ViT or CLIP's image tower with CLIP's text tower"
)
def write_open_clip(model: Model, folder: Path) -> Written:
    """Write configuration, weights and tokenizer files.

    Args:
        model: can encode images and texts by two towers.
        folder: an empty one.

    Raises:
        AbilityError: the model cannot encode both.
        ModelError: open_clip has no towers of their kind.
        ConfigError: open_clip cannot be imported, so nothing could be compared.
    """
    towers = _towers(model)
    try:
        import_module("open_clip")
    except Exception as error:  # torchvision, which it needs, raises others too
        raise ConfigError(
            f"--format open_clip needs open_clip, which cannot be imported here ({first_line(error)}); try "
            'pip install "likewise[open_clip]".'
        ) from error
    notes = _write(model, towers, folder)
    code = Code(
        ["import open_clip", "import torch", *image_imports(model)], [_BODY.format(square=square(model))]
    )
    return Written(code, library="open_clip", tags=("clip",), notes=notes)


_BODY = """\
model, preprocess = open_clip.create_model_from_pretrained(f"local-dir:{{folder}}")
model.eval()
tokenizer = open_clip.get_tokenizer(f"local-dir:{{folder}}")
tokenizer.clean_fn = str  # texts as they are, as in training


@torch.no_grad()
def encode_images(images):
    pixels = torch.stack([preprocess({square}) for image in images])
    return model.encode_image(pixels, normalize=True)


@torch.no_grad()
def encode_texts(texts):
    return model.encode_text(tokenizer(texts), normalize=True)
"""


def write_folder(model: Model, folder: Path) -> tuple[str, ...]:
    """Write the files without open_clip; nothing is compared.

    Args:
        model: can encode images and texts by two towers.
        folder: an existing one.

    Returns:
        Notes on what is not in them.

    Raises:
        AbilityError: the model cannot encode both.
        ModelError: open_clip has no towers of their kind.
    """
    return _write(model, _towers(model), folder)


def name_on_hub(folder: Path, name: str) -> None:
    """Let the configuration name the repository, where open_clip looks for the tokenizer of a hub's model.

    Args:
        folder: any exported one; others than open_clip's stay as they are.
        name: OWNER/NAME.
    """
    if (file := folder / CONFIG_FILE).is_file():
        values = json.loads(file.read_text(encoding="utf-8"))
        values["model_cfg"]["text_cfg"]["hf_tokenizer_name"] = name
        write_json(file, values)


def _towers(model: Model) -> _Towers:
    """The towers; raises ModelError where open_clip has none of their kind."""
    model.needs("encode_images")
    model.needs("encode_texts")
    assert model.tokenizer is not None
    network = plain_network(model)
    image, text = image_tower(network), text_tower(network)
    if image is None or text is None or not isinstance(network, DualNetwork):
        reason = f"a network of kind {network.kind!r} is more than two towers"
    elif (misfit := _misfit(image, text, model.tokenizer)) is not None:
        reason = misfit
    else:
        return _Towers(network, image, text)
    raise ModelError(f"open_clip cannot hold this model: {reason}. Try --format transformers or onnx.")


def _misfit(image: ImageTower, text: TextTower, tokenizer: TextTokenizer) -> str | None:
    """Why open_clip has no such towers; None where it has."""
    vision, words = image.encoder.backbone.config, text.encoder.backbone.config
    if vision.model_type not in _POOLING:
        return f"its own image towers are ViT and CLIP's, and this one is a {vision.model_type}"
    if image.encoder.stem_stride is not None:
        return "its ViT begins with patches, and this one with convolutions"
    if words.model_type != "clip_text_model":
        return f"its own text tower is CLIP's, and this one is a {words.model_type}"
    if image.encoder.pooling not in _POOLING[vision.model_type]:
        return f"it does not pool a {vision.model_type} by {image.encoder.pooling!r}"
    if text.pooling != "last" or text.encoder.normalize:
        return "it takes a text's end token, projects it and normalizes it after that alone"
    if vision.hidden_act != words.hidden_act or words.hidden_act not in _QUICK:
        acts = f"{vision.hidden_act} and {words.hidden_act}"
        return f"both of its towers have gelu, or both quick_gelu, and these have {acts}"
    if not getattr(vision, "qkv_bias", True):
        return "its attention has biases, and the image tower's has none"
    begin, end = tokenizer.end_ids
    return "it finds the end token alone, and texts begin with that token" if begin == end else None


def _write(model: Model, towers: _Towers, folder: Path) -> tuple[str, ...]:
    network, image, text = towers
    assert model.tokenizer is not None
    length, positions = model.tokenizer.max_tokens, text.encoder.backbone.config.max_position_embeddings
    weights = {f"visual.{name}": value for name, value in vision_weights(image.encoder.backbone).items()}
    weights["visual.proj"] = projection_matrix(image.projection, network.dim)
    weights |= text_weights(text.encoder.backbone, length)
    weights["text_projection"] = projection_matrix(text.projection, network.dim)
    model_config: dict[str, Any] = {
        "embed_dim": network.dim,
        "quick_gelu": _QUICK[text.encoder.backbone.config.hidden_act],
        "vision_cfg": _vision_config(image),
        "text_cfg": _text_config(text, model.tokenizer),
    }
    notes = [_CLEANED]
    if positions > length:
        notes.append(f"Positions beyond {length} tokens, at which texts are cut, are not in it.")
    if network.logit_scale is None:
        notes.append("The learned temperature is not part of the trained model; logit_scale is CLIP's first.")
    weights["logit_scale"] = _FIRST_SCALE if network.logit_scale is None else network.logit_scale
    if network.logit_bias is not None:
        model_config["init_logit_bias"] = network.bias
        weights["logit_bias"] = network.logit_bias
    save_weights(weights, folder / WEIGHTS_FILE)
    write_json(folder / CONFIG_FILE, {"model_cfg": model_config, "preprocess_cfg": _preprocessing(model)})
    write_tokenizer_files(model.tokenizer, folder)
    return tuple(notes)


_CLEANED = (
    "open_clip by itself changes quotes, HTML entities and white space of texts; the code of the model card "
    "turns that off."
)
_FIRST_SCALE = torch.tensor(1 / 0.07).log()


def _preprocessing(model: Model) -> dict[str, Any]:
    encoder, fit = model.image_encoder, model.config["images"]["fit"]
    values = {
        "size": encoder.image_size,
        "mode": "RGB",
        "mean": list(encoder.mean),
        "std": list(encoder.std),
        "interpolation": "bicubic",
        "resize_mode": _RESIZE[fit],
    }
    return values | {"fill_color": list(PAD_COLOUR)} if fit == "pad" else values


def _sizes(config: Any) -> dict[str, Any]:
    """What both towers' configurations share."""
    width, inner = config.hidden_size, config.intermediate_size
    ratio = inner / width
    sizes = {
        "width": width,
        "layers": config.num_hidden_layers,
        # open_clip rounds the product down.
        "mlp_ratio": ratio if int(width * ratio) == inner else (inner + 0.5) / width,
    }
    return sizes if config.layer_norm_eps == _EPS else sizes | {"norm_kwargs": {"eps": config.layer_norm_eps}}


def _vision_config(image: ImageTower) -> dict[str, Any]:
    config = image.encoder.backbone.config
    return {
        "image_size": image.encoder.image_size,
        "patch_size": config.patch_size,
        "head_width": config.hidden_size // config.num_attention_heads,
        "no_ln_pre": config.model_type == "vit",
        "pool_type": _POOLING[config.model_type][image.encoder.pooling],
        **_sizes(config),
    }


def _text_config(text: TextTower, tokenizer: TextTokenizer) -> dict[str, Any]:
    config = text.encoder.backbone.config
    return {
        "context_length": tokenizer.max_tokens,
        "vocab_size": config.vocab_size,
        "heads": config.num_attention_heads,
        "hf_tokenizer_name": _ANY_NAME,
        "pad_id": tokenizer.pad_id,
        "eos_id": tokenizer.end_ids[1],
        "pool_type": "eos",  # the first end token: CLIP's tokenizer also pads with it
        **_sizes(config),
    }
