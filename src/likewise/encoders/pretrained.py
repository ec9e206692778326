"""Opens pre-trained models of transformers, by folder or hub name."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch

from likewise.errors import ConfigError
from likewise.messages import first_line

__all__ = ["load_backbone", "load_config", "without_pooler"]


def load_config(name: str, *, section: str, known: Iterable[str]) -> Any:
    """The transformers configuration of a pre-trained encoder.

    Args:
        name: a folder or hub name.
        section: `image` or `text`, the options that name it.
        known: model types that are supported.

    Raises:
        ConfigError: it cannot be loaded, or is of another type.
    """
    from transformers import AutoConfig

    try:
        config = AutoConfig.from_pretrained(name)
    except (OSError, ValueError, ImportError) as error:
        raise _cannot_load(name, section, error) from error
    kind = config.model_type
    if section == "text" and not hasattr(config, "vocab_size"):
        raise ConfigError(
            f"text.pretrained: {name!r} is a {kind}, not a text encoder; name its text half "
            "(a folder with a CLIPTextModel, say) or a BERT."
        )
    if kind not in known:
        article = "an image" if section == "image" else "a text"
        raise ConfigError(
            f"{section}.pretrained: {name!r} is a {kind}, not {article} encoder that is known here: "
            f"{', '.join(sorted(known))}."
        )
    return config


def load_backbone(name: str, config: Any, *, section: str) -> Any:
    """A pre-trained model in float32, however it was stored: training chooses the precision.

    Raises:
        ConfigError: it cannot be loaded.
    """
    from transformers import AutoModel

    try:
        return AutoModel.from_pretrained(name, dtype=torch.float32, **without_pooler(config))
    except (OSError, ValueError, ImportError) as error:
        raise _cannot_load(name, section, error) from error


def without_pooler(config: Any) -> dict[str, Any]:
    """Options that leave a pooler out: a tanh layer that nothing would use, since [CLS] is read directly."""
    have_one = ("bert", "deit", "roberta", "vit", "xlm-roberta")
    return {"add_pooling_layer": False} if config.model_type in have_one else {}


def _cannot_load(name: str, section: str, error: Exception) -> ConfigError:
    return ConfigError(
        f"{section}.pretrained: cannot load {name!r} ({first_line(error)}). "
        "Expected a folder written by transformers, or a hub name and a network to fetch it with."
    )
