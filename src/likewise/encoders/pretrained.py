"""Opens pre-trained models of transformers, by folder or hub name."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterable, Iterator
from typing import Any, Literal, NamedTuple

import torch

from likewise.errors import ConfigError
from likewise.messages import first_line, first_names

__all__ = [
    "TWO_TOWERS",
    "OwnPooling",
    "TextPooling",
    "TokenPooling",
    "cannot_load",
    "class_of",
    "load_backbone",
    "load_config",
    "load_two_towers",
    "quiet_loading",
    "read_config",
    "read_json",
    "read_pooling",
    "without_pooler",
]

TWO_TOWERS = ("chinese_clip", "clip", "siglip", "siglip2", "vision-text-dual-encoder")
"""Model types of an image and a text encoder together."""

TokenPooling = Literal["first", "last", "mean", "max"]
"""The state of the first or the last real token, or the mean or maximum over all real tokens."""

OwnPooling = Literal["own"]
"""The output of the backbone's own pooler."""

_POOLING_MODES: dict[str, TokenPooling] = {
    "cls": "first",
    "cls_token": "first",
    "lasttoken": "last",
    "max": "max",
    "max_tokens": "max",
    "mean": "mean",
    "mean_tokens": "mean",
}
"""Names in the configuration of sentence-transformers."""


_OPTIONAL_POOLER = ("bert", "chinese_clip_text_model", "deit", "roberta", "vit", "xlm-roberta")
"""Model types that can be built without their pooler."""


class TextPooling(NamedTuple):
    """How a sentence-transformers model makes one vector of a text's tokens.

    Attributes:
        pooling: of the tokens.
        normalize: scale the vector to unit length.
    """

    pooling: TokenPooling | OwnPooling
    normalize: bool


def read_config(name: str, *, section: str) -> Any:
    """The transformers configuration of any pre-trained model.

    Args:
        name: a folder or hub name.
        section: `image` or `text`, the options that name it.

    Raises:
        ConfigError: it cannot be loaded, or needs code of its own.
    """
    from transformers import AutoConfig

    try:
        with quiet_loading():
            config = AutoConfig.from_pretrained(name, trust_remote_code=False)
    except Exception as error:  # its checks of values raise errors of many kinds
        raise cannot_load(name, section, error) from error
    if config.model_type == "timm_wrapper":  # where timm is installed
        raise cannot_load(name, section, ConfigError("a model of timm"))
    return config


def load_config(name: str, *, section: str, known: Iterable[str]) -> Any:
    """The transformers configuration of a pre-trained encoder, or of that half of a model of two towers.

    Args:
        name: a folder or hub name.
        section: `image`, `audio` or `text`, the options that name it.
        known: model types that are supported.

    Raises:
        ConfigError: it cannot be loaded, or is of another type.
    """
    config = read_config(name, section=section)
    if config.model_type in TWO_TOWERS:
        config = config.vision_config if section == "image" else config.text_config
    kind = config.model_type
    if section == "text" and not hasattr(config, "vocab_size"):
        raise ConfigError(
            f"--text.pretrained: {name!r} is a {kind}, not a text encoder; name a BERT, or a model with a "
            "text half such as a CLIP."
        )
    if kind not in known:
        article = {"image": "an image", "audio": "an audio"}.get(section, "a text")
        raise ConfigError(
            f"--{section}.pretrained: {name!r} is a {kind}, not {article} encoder that is known here: "
            f"{', '.join(sorted(known))}."
        )
    return config


def load_backbone(name: str, config: Any, *, section: str) -> Any:
    """A pre-trained model in float32, however it was stored: training chooses the precision.

    Args:
        name: a folder or hub name.
        config: from `load_config`.
        section: `image` or `text`; of a model of two towers this half is returned.

    Raises:
        ConfigError: it cannot be loaded, lacks weights, or has them as pickle alone.
    """
    if read_config(name, section=section).model_type in TWO_TOWERS:
        half = "vision_model" if section == "image" else "text_model"
        model = getattr(load_two_towers(name, section=section, part=half), half)
        if _has_optional_pooler(config):
            model.pooler = None
        return model
    model, missing = _load(class_of(config), name, section, **without_pooler(config))
    # A text model's pooler is not read.
    _check_complete(name, section, [key for key in missing if section == "image" or "pooler." not in key])
    return model


def load_two_towers(name: str, *, section: str, part: str = "") -> Any:
    """A whole pre-trained model of an image and a text encoder, in float32.

    Args:
        name: a folder or hub name.
        section: for messages.
        part: the part that is read; its weights must be there.

    Raises:
        ConfigError: as `load_backbone`.
    """
    from transformers import AutoModel

    model, missing = _load(AutoModel, name, section)
    _check_complete(name, section, [key for key in missing if key.startswith(part)])
    return model


def _load(loader: Any, name: str, section: str, **options: Any) -> tuple[Any, list[str]]:
    """A model, and the weights that its files lack."""
    try:
        with quiet_loading():
            model, found = loader.from_pretrained(
                name,
                dtype=torch.float32,
                use_safetensors=True,  # pickle can run code
                trust_remote_code=False,
                output_loading_info=True,
                **options,
            )
    except Exception as error:  # a damaged file raises errors of many kinds
        raise cannot_load(name, section, error) from error
    return model, sorted(found["missing_keys"])


def _check_complete(name: str, section: str, missing: list[str]) -> None:
    if missing:
        raise ConfigError(
            f"--{section}.pretrained: {name!r} is only a part of a model: its weights lack "
            f"{first_names(missing, most=3)}. Fetch or save it again."
        )


def class_of(config: Any) -> Any:
    """The class of transformers; AutoModel does not list the text halves."""
    import transformers

    names = {
        "chinese_clip_text_model": "ChineseCLIPTextModel",
        "clip_text_model": "CLIPTextModel",
        "siglip2_text_model": "Siglip2TextModel",
        "siglip_text_model": "SiglipTextModel",
    }
    return getattr(transformers, names.get(config.model_type, "AutoModel"))


def read_pooling(name: str) -> TextPooling | None:
    """The pooling of a sentence-transformers model; None of any other model.

    Args:
        name: a folder or hub name.

    Raises:
        ConfigError: it has a pooling or a layer that is not supported.
    """
    modules = read_json(name, "modules.json")
    kinds = {
        str(module["type"]).rpartition(".")[2]: str(module.get("path", ""))
        for module in modules or [{"type": "Pooling", "path": "1_Pooling"}]
    }
    if others := sorted(kinds.keys() - {"Transformer", "Pooling", "Normalize"}):
        raise ConfigError(
            f"--text.pretrained: {name!r} is a sentence-transformers model with {', '.join(others)}, which "
            "is not supported; expected Transformer, Pooling and Normalize."
        )
    found = read_json(name, f"{kinds.get('Pooling', '1_Pooling')}/config.json")
    if found is None:
        return None
    prefix = "pooling_mode_"
    modes = [key.removeprefix(prefix) for key, value in found.items() if key.startswith(prefix) and value]
    if isinstance(found.get("pooling_mode"), str):  # of newer versions
        modes = [found["pooling_mode"]]
    if len(modes) != 1 or modes[0] not in _POOLING_MODES:
        raise ConfigError(
            f"--text.pretrained: {name!r} pools tokens by {' and '.join(modes) or 'nothing'}; expected cls, "
            "lasttoken, max or mean."
        )
    return TextPooling(_POOLING_MODES[modes[0]], normalize="Normalize" in kinds)


def read_json(name: str, file: str) -> Any:
    """A JSON file of a pre-trained model, by folder or hub name; None where it is absent.

    Raises:
        ConfigError: the file is damaged.
    """
    from transformers.utils.hub import cached_file

    try:
        path = cached_file(
            name,
            file,
            _raise_exceptions_for_missing_entries=False,
            _raise_exceptions_for_connection_errors=False,
            _raise_exceptions_for_gated_repo=False,
        )
    except OSError:  # no such folder, and no name of the hub
        return None
    if path is None:
        return None
    try:
        with open(path, encoding="utf-8") as opened:
            return json.load(opened)
    except ValueError as error:
        raise ConfigError(f"--text.pretrained: {path} is no JSON ({first_line(error)}).") from error


@contextlib.contextmanager
def quiet_loading() -> Iterator[None]:
    """Keep transformers' report of unused and new weights, and its progress bar, out of the log."""
    from transformers.utils import logging

    verbosity, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)
        if bars:
            logging.enable_progress_bar()


def without_pooler(config: Any) -> dict[str, Any]:
    """Options that leave a pooler out: a tanh layer that nothing would use, since [CLS] is read directly."""
    return {"add_pooling_layer": False} if _has_optional_pooler(config) else {}


def _has_optional_pooler(config: Any) -> bool:
    return config.model_type in _OPTIONAL_POOLER


def cannot_load(name: str, section: str, error: BaseException) -> ConfigError:
    """The error for a pre-trained model that cannot be loaded, with what can be done."""
    path = os.path.expanduser(name)
    is_path = name.count("/") != 1 or name.startswith((".", "/", "~"))
    start, remedy = (
        f"--{section}.pretrained: cannot load {name!r}",
        ("Expected a folder written by transformers, or a hub name and a network to fetch it with."),
    )
    reason = first_line(error)
    if is_path and not os.path.exists(path):
        reason = "there is no such folder"
    elif "gated repo" in reason or "GatedRepo" in type(error).__name__:
        reason = "access to it is restricted"
        remedy = f"Accept its terms on https://huggingface.co/{name}, then log in: hf auth login."
    elif "trust_remote_code" in str(error):
        reason, remedy = "it runs code of its own, which is never run here", "Name another model."
    elif "timm" in str(error) or _is_of_timm(path):
        reason = "it is a model of timm"
        remedy = "With timm installed, name it --image.own timm:NAME, in Python image_encoder='timm:NAME'."
    elif (pickled := _pickled_weights(path)) or "no file named model.safetensors" in reason:
        has = f"its weights, {pickled}, are pickle, which can run code"
        reason = has if pickled else "it has no model.safetensors"
        remedy = (
            "If its weights are pickle and you trust it, convert it once: python -c "
            '"from transformers import AutoModel; '
            f"AutoModel.from_pretrained('{name}').save_pretrained('FOLDER')\""
        )
    elif "size mismatch" in str(error) or "ignore_mismatched_sizes" in str(error):
        reason, remedy = "its weights do not fit its config.json", "One of the two is another model's."
    return ConfigError(f"{start} ({reason}). {remedy}")


def _is_of_timm(path: str) -> bool:
    """Whether a folder holds a model as timm writes it."""
    try:
        with open(os.path.join(path, "config.json"), encoding="utf-8") as opened:
            return '"pretrained_cfg"' in opened.read(1 << 20)
    except (OSError, ValueError):
        return False


def _pickled_weights(path: str) -> str | None:
    """A file of pickled weights in a folder that has no others."""
    names = sorted(os.listdir(path)) if os.path.isdir(path) else []
    if any(name.endswith(".safetensors") for name in names):
        return None
    return next((name for name in names if name.endswith((".bin", ".pt", ".pth", ".pkl"))), None)
