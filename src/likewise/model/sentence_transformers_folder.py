"""Opens a folder of sentence-transformers: Transformer, Pooling and perhaps Normalize."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from likewise.encoders.backbone_spec import check_size
from likewise.encoders.pretrained_text import position_limit
from likewise.encoders.text import TextEncoder, TextEncoderConfig
from likewise.encoders.tokenizer import TextTokenizer
from likewise.errors import ConfigError, ModelError
from likewise.networks.text import TextNetwork

__all__ = ["is_sentence_transformers", "read_sentence_transformers"]

_MODULES = "modules.json"
_USUAL_TOKENS = 512
_SETTINGS = ("sentence_bert_config.json", "sentence_roberta_config.json", "sentence_xlm-roberta_config.json")


def is_sentence_transformers(folder: Path) -> bool:
    """Whether it is a folder of sentence-transformers."""
    return (folder / _MODULES).is_file()


def read_sentence_transformers(folder: Path) -> tuple[TextNetwork, dict[str, Any], TextTokenizer]:
    """Its network, tokenizer, and what `config.json` of a model here would say but the version of its format.

    Raises:
        ModelError: a part is not supported or cannot be read.
    """
    settings = next((found for name in _SETTINGS if (found := _read_json(folder / name))), {})
    _check_no_prompt(folder)
    try:
        encoder = TextEncoder.build(
            TextEncoderConfig(pretrained=str(folder), max_tokens=3), vocabulary_size=1
        )
        limits = [
            position_limit(encoder.backbone.config),
            settings.get("max_seq_length")
            or _read_json(folder / "tokenizer_config.json").get("model_max_length"),
        ]
        longest = min((limit for limit in limits if isinstance(limit, int)), default=_USUAL_TOKENS)
        check_size(f"{folder}: the longest text", longest)
        tokenizer = TextTokenizer.load(folder, max_tokens=longest)
    except ConfigError as error:
        reason = str(error).removeprefix("--text.pretrained: ").removeprefix("--text.tokenizer: ")
        raise ModelError(
            f"{folder} is a sentence-transformers model that cannot be opened: {reason}"
        ) from error
    if settings.get("do_lower_case") is True:
        tokenizer = tokenizer.lowercasing()
    if tokenizer.size > encoder.backbone.config.vocab_size:
        raise ModelError(
            f"{folder}: the tokenizer has {tokenizer.size:,} entries, the network "
            f"{encoder.backbone.config.vocab_size:,}; one of the two is another model's."
        )
    network = TextNetwork(encoder)
    config = {
        "method": "sentence-transformers",
        "network": network.spec(),
        "images": None,
        "texts": {"max_tokens": tokenizer.max_tokens, "pad_id": tokenizer.pad_id},
        "trained_on": {},
    }
    return network, config, tokenizer


def _check_no_prompt(folder: Path) -> None:
    """A prompt that stands before every text by default would be missing here."""
    options = _read_json(folder / "config_sentence_transformers.json")
    name = options.get("default_prompt_name")
    if name is not None and (options.get("prompts") or {}).get(name):
        raise ModelError(
            f"{folder} puts the prompt {name!r} before every text, which is not supported; set "
            "default_prompt_name to null in its config_sentence_transformers.json, and write the prompt "
            "before your texts."
        )


def _read_json(file: Path) -> dict[str, Any]:
    """The object in a file; an empty one where there is no file."""
    if not file.is_file():
        return {}
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise ModelError(f"{file} cannot be read: {error}") from error
    if not isinstance(found, dict):
        raise ModelError(f"{file} holds {type(found).__name__}, not an object.")
    return found
