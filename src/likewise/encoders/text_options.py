"""Options of the text encoder, and the transformers configuration that they make."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from likewise.encoders.pretrained import TokenPooling
from likewise.encoders.recurrent_text import RECURRENT, RecurrentConfig
from likewise.encoders.shared_options import TuningOptions, check_sizes, width_depth_heads
from likewise.errors import ConfigError

__all__ = ["POOLED_BY_DEFAULT", "TextEncoderConfig", "text_backbone_config"]

_PRESETS = {"tiny": (192, 4), "small": (384, 6), "base": (512, 12)}  # width, depth
_RECURRENT_DEPTHS = {"tiny": 1, "small": 1, "base": 2}
POOLED_BY_DEFAULT: dict[str, TokenPooling] = {
    "clip": "last",
    "bert": "first",
    "rnn": "max",
    "lstm": "max",
    "gru": "max",
}


@dataclass(frozen=True, kw_only=True)
class TextEncoderConfig(TuningOptions):
    """The text encoder and its tokenizer."""

    architecture: Literal["clip", "bert", "rnn", "lstm", "gru"] = "clip"
    """`clip`: a Transformer, pre-norm and causal, pooled at the end token (trains fastest from scratch);
    `bert`: a bidirectional Transformer, pooled at [CLS]; `rnn`, `lstm`, `gru`: bidirectional recurrent
    networks, pooled by the maximum over tokens."""

    preset: Literal["tiny", "small", "base"] = "tiny"
    """Size: 192x4, 384x6 or 512x12 (width x layers); recurrent: 192x1, 384x1, 512x2."""

    pretrained: str | None = None
    """A pre-trained text encoder with its tokenizer: a local folder or a name on the Hugging Face hub. Its
    architecture, size and dropout override the other options; so does the pooling of a sentence-transformers
    model."""

    tokenizer: str | None = None
    """A tokenizer to use: a tokenizer.json, a folder or a hub name. By default the pre-trained model's, or
    one trained on the captions of the training split."""

    vocabulary_size: int = 8192
    """Maximum entries of a tokenizer trained on the data; small data give fewer."""

    max_tokens: int = 77
    """Maximum tokens of a text, [CLS] and [SEP] included; longer texts are cut."""

    width: int | None = None
    """Overrides the preset's width."""

    depth: int | None = None
    """Overrides the preset's number of layers."""

    heads: int | None = None
    """Overrides the number of attention heads; by default one for every 64 of width."""

    pooling: TokenPooling | None = None
    """What stands for a text: the state of the `first` token ([CLS]) or of the `last` one (of a recurrent
    encoder the last of each direction), or the `mean` or `max` over all tokens. By default as the
    architecture says, or a sentence-transformers model's own."""

    dropout: float = 0.0
    """Dropout in [0, 1), in a clip of the attention alone; a pre-trained encoder keeps its own."""

    def __post_init__(self) -> None:
        """Reject values that cannot work."""
        check_sizes(self, "text", "width", "depth", "heads")
        self.check_tuning("text")
        if self.architecture in RECURRENT:
            if self.heads is not None:
                raise ConfigError(f"--text.heads: {self.architecture} has no attention; leave it out.")
            if self.pooling == "first":
                raise ConfigError(
                    f"--text.pooling first: the first token of a {self.architecture} has one direction that "
                    "read nothing; use last, mean or max."
                )
            if (self.width or 2) % 2:
                raise ConfigError(f"--text.width is {self.width}; two directions need an even number.")
        if self.max_tokens < 3:
            raise ConfigError(f"--text.max-tokens is {self.max_tokens}; [CLS], one token and [SEP] need 3.")
        if self.vocabulary_size < 300:
            raise ConfigError(
                f"--text.vocabulary-size is {self.vocabulary_size}; 256 bytes and the special tokens need "
                "300."
            )


def text_backbone_config(config: TextEncoderConfig, vocabulary_size: int) -> Any:
    """The transformers configuration of our options."""
    from transformers import BertConfig, CLIPTextConfig

    width, depth, heads = width_depth_heads(config, "text", _PRESETS)
    if config.architecture in RECURRENT:
        depth = config.depth or _RECURRENT_DEPTHS[config.preset]
        return RecurrentConfig(config.architecture, vocabulary_size, width, depth, config.dropout)
    shared = {
        "vocab_size": vocabulary_size,
        "hidden_size": width,
        "intermediate_size": 4 * width,
        "num_hidden_layers": depth,
        "num_attention_heads": heads,
        "max_position_embeddings": config.max_tokens,
        "pad_token_id": 0,
        "bos_token_id": 1,
        "eos_token_id": 2,
    }
    if config.architecture == "clip":
        return CLIPTextConfig(**shared, hidden_act="gelu", attention_dropout=config.dropout)
    return BertConfig(
        **shared,
        hidden_dropout_prob=config.dropout,
        attention_probs_dropout_prob=config.dropout,
        # BERT's own 0.02 is for width 768; narrow networks learn at half the pace with it (width 192, two
        # layers, CLIP on scenes: 32 % instead of 46 % after 300 steps). This keeps the scale of activations.
        initializer_range=width**-0.5,
    )
