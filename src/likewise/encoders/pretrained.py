"""Opens pre-trained models of transformers, by folder or hub name."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterable, Iterator
from typing import Any, Literal, NamedTuple

import torch

from likewise.errors import ConfigError
from likewise.messages import first_line

__all__ = [
    "TextPooling",
    "TokenPooling",
    "cannot_load",
    "load_backbone",
    "load_config",
    "quiet_loading",
    "read_pooling",
    "without_pooler",
]

TokenPooling = Literal["first", "last", "mean", "max"]
"""The state of the first or the last real token, or the mean or maximum over all real tokens."""

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


class TextPooling(NamedTuple):
    """How a sentence-transformers model makes one vector of a text's tokens.

    Attributes:
        pooling: of the tokens.
        normalize: scale the vector to unit length.
    """

    pooling: TokenPooling
    normalize: bool


def load_config(name: str, *, section: str, known: Iterable[str]) -> Any:
    """The transformers configuration of a pre-trained encoder.

    Args:
        name: a folder or hub name.
        section: `image`, `audio` or `text`, the options that name it.
        known: model types that are supported.

    Raises:
        ConfigError: it cannot be loaded, or is of another type.
    """
    from transformers import AutoConfig

    try:
        config = AutoConfig.from_pretrained(name)
    except (OSError, ValueError, ImportError) as error:
        raise cannot_load(name, section, error) from error
    kind = config.model_type
    if section == "text" and not hasattr(config, "vocab_size"):
        raise ConfigError(
            f"--text.pretrained: {name!r} is a {kind}, not a text encoder; name its text half "
            "(a folder with a CLIPTextModel, say) or a BERT."
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

    Raises:
        ConfigError: it cannot be loaded.
    """
    from transformers import AutoModel

    try:
        with quiet_loading():
            return AutoModel.from_pretrained(name, dtype=torch.float32, **without_pooler(config))
    except (OSError, ValueError, ImportError) as error:
        raise cannot_load(name, section, error) from error


def read_pooling(name: str) -> TextPooling | None:
    """The pooling of a sentence-transformers model; None of any other model.

    Args:
        name: a folder or hub name.

    Raises:
        ConfigError: it has a pooling or a layer that is not supported.
    """
    modules = _read_json(name, "modules.json")
    kinds = {
        str(module["type"]).rpartition(".")[2]: str(module.get("path", ""))
        for module in modules or [{"type": "Pooling", "path": "1_Pooling"}]
    }
    if others := sorted(kinds.keys() - {"Transformer", "Pooling", "Normalize"}):
        raise ConfigError(
            f"--text.pretrained: {name!r} is a sentence-transformers model with {', '.join(others)}, which "
            "is not supported; expected Transformer, Pooling and Normalize."
        )
    found = _read_json(name, f"{kinds.get('Pooling', '1_Pooling')}/config.json")
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


def _read_json(name: str, file: str) -> Any:
    """A JSON file of a folder or hub model; None where it is absent."""
    from transformers.utils.hub import cached_file

    path = cached_file(
        name,
        file,
        _raise_exceptions_for_missing_entries=False,
        _raise_exceptions_for_connection_errors=False,
        _raise_exceptions_for_gated_repo=False,
    )
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
    have_one = ("bert", "deit", "roberta", "vit", "xlm-roberta")
    return {"add_pooling_layer": False} if config.model_type in have_one else {}


def cannot_load(name: str, section: str, error: BaseException) -> ConfigError:
    """The error for a pre-trained model that cannot be loaded."""
    path = os.path.expanduser(name)
    is_path = name.count("/") != 1 or name.startswith((".", "/", "~"))
    reason = "there is no such folder" if is_path and not os.path.exists(path) else first_line(error)
    return ConfigError(
        f"--{section}.pretrained: cannot load {name!r} ({reason}). "
        "Expected a folder written by transformers, or a hub name and a network to fetch it with."
    )
