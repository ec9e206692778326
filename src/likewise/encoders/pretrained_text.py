"""Pre-trained text models of transformers: the supported ones, how they differ, and their tokenizers."""

from __future__ import annotations

import string
from typing import Any, Literal

from torch import nn

from likewise.encoders.pretrained import (
    class_of,
    load_backbone,
    load_config,
    read_json,
    without_pooler,
)
from likewise.encoders.tokenizer import TextTokenizer

__all__ = [
    "TEXT_MODELS",
    "build_text_model",
    "load_text_model",
    "load_text_tokenizer",
    "longest_text",
    "padding_read",
    "position_limit",
    "text_width",
]

TEXT_MODELS: dict[str, Literal["first", "last", "own"]] = {
    "albert": "first",
    "bert": "first",
    "camembert": "first",
    "chinese_clip_text_model": "first",
    "clip_text_model": "last",
    "deberta": "first",
    "deberta-v2": "first",
    "distilbert": "first",
    "electra": "first",
    "ernie": "first",
    "modernbert": "first",
    "mpnet": "first",
    "nomic_bert": "first",
    "roberta": "first",
    "siglip2_text_model": "own",
    "siglip_text_model": "own",
    "xlm-roberta": "first",
}
"""Supported model types, and the token whose state is the text's vector: [CLS] or the end token."""

_POSITIONS_AFTER_PADDING = ("camembert", "mpnet", "roberta", "xlm-roberta")
"""Model types whose positions start after the padding's id, which leaves fewer of them."""

_READ_PADDING = ("siglip2_text_model", "siglip_text_model")
"""Model types that were trained on texts padded to their number of positions, without a mask (Zhai 2023,
arXiv 2303.15343). Padded to the longest text of a batch, their vectors mean nothing."""

_LOWER_CASE = ("siglip", "siglip2")
"""Model types that were trained on lower-case texts, of the first version also without punctuation."""

_USUAL_TOKENS = 512


def load_text_model(name: str) -> Any:
    """A pre-trained text model by hub name or folder, or the text half of a model of two towers.

    Raises:
        ConfigError: it cannot be loaded or is not supported.
    """
    config = load_config(name, section="text", known=TEXT_MODELS)
    return load_backbone(name, config, section="text")


def build_text_model(config: Any, *, pooler: bool) -> nn.Module:
    """A text model of a transformers configuration, with fresh weights.

    Args:
        config: of a supported type.
        pooler: with the tanh layer above [CLS], where there is one.
    """
    kind, options = class_of(config), {} if pooler else without_pooler(config)
    build = kind.from_config if hasattr(kind, "from_config") else kind._from_config
    model: nn.Module = build(config, **options)
    return model


def text_width(config: Any) -> int:
    """The width of a text model's vectors; SigLIP's pooler changes it."""
    is_projected = config.model_type in _READ_PADDING
    return int(config.projection_size if is_projected else config.hidden_size)


def position_limit(config: Any) -> int | None:
    """The number of tokens that a backbone has positions for; None where it has no such limit."""
    count: int | None = getattr(config, "max_position_embeddings", None)
    if count is None or config.model_type not in _POSITIONS_AFTER_PADDING:
        return count
    return count - int(config.pad_token_id) - 1


def padding_read(name: str, config: Any) -> int | None:
    """The padding's id where a pre-trained text model reads the padding; None where it does not."""
    if config.model_type not in _READ_PADDING:
        return None
    return load_text_tokenizer(name, max_tokens=3).pad_id


def load_text_tokenizer(name: str, *, max_tokens: int) -> TextTokenizer:
    """The tokenizer of a pre-trained text model, with the preparation of texts that belongs to it.

    Args:
        name: a folder or hub name.
        max_tokens: maximum length.

    Raises:
        ConfigError, ModelError: it cannot be loaded.
    """
    options = read_json(name, "tokenizer_config.json") or {}
    kind = str((read_json(name, "config.json") or {}).get("model_type"))
    tokenizer = TextTokenizer.load(name, max_tokens=max_tokens, pad_token=_content(options.get("pad_token")))
    if kind.removesuffix("_text_model") in _LOWER_CASE:  # by code of transformers, not by its tokenizer.json
        is_first = str(options.get("tokenizer_class", "")).startswith("SiglipTokenizer")
        tokenizer = tokenizer.lowercasing(without=string.punctuation if is_first else "")
    return tokenizer


def _content(token: Any) -> str | None:
    """A special token of tokenizer_config.json, which may stand with options around it."""
    found = token.get("content") if isinstance(token, dict) else token
    return found if isinstance(found, str) else None


def longest_text(name: str, config: Any) -> int:
    """The most tokens that a pre-trained text model and its tokenizer take."""
    found = (read_json(name, "tokenizer_config.json") or {}).get("model_max_length")
    limits = [limit for limit in (position_limit(config), found) if isinstance(limit, int)]
    return min(limits, default=_USUAL_TOKENS)
