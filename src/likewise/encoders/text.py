"""Text encoders: a Transformer from Hugging Face transformers behind one small face.

Dimensions: B batch, L tokens, D width of the features.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor, nn

from likewise.encoders.fast.attention import attention_of
from likewise.encoders.fast.install import make_lean
from likewise.encoders.fast.unpadded_bert import packed_bert
from likewise.encoders.unused_weights import freeze_unread
from likewise.errors import ConfigError
from likewise.messages import first_line

__all__ = ["TextEncoder", "TextEncoderConfig", "TextFeatures"]

# Which of a text's vectors stands for it, of the kinds that are known here: [CLS] or the end token.
_READ_AT: dict[str, Literal["first", "last"]] = {
    "albert": "first",
    "bert": "first",
    "camembert": "first",
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
    "xlm-roberta": "first",
}
_POSITIONS_AFTER_PADDING = ("camembert", "mpnet", "roberta", "xlm-roberta")
"""Kinds that count positions from the padding's number on, and so have fewer of them."""

_PRESETS = {"tiny": (192, 4), "small": (384, 6), "base": (512, 12)}  # width, depth


@dataclass(frozen=True, kw_only=True)
class TextEncoderConfig:
    """The network that reads texts, and its tokenizer."""

    architecture: Literal["clip", "bert"] = "clip"
    """`clip`: pre-norm and causal, read at the end token (trains fastest from nothing); `bert`: both
    directions, read at [CLS]."""

    preset: Literal["tiny", "small", "base"] = "tiny"
    """Size: 192x4, 384x6 or 512x12 (width x layers)."""

    pretrained: str | None = None
    """A pre-trained text encoder with its tokenizer: a local folder or a name on the Hugging Face hub. Its
    architecture, size and dropout hold, whatever the other options say."""

    tokenizer: str | None = None
    """A tokenizer to use: a tokenizer.json, a folder or a hub name. By default the pre-trained model's, or
    one trained on the captions of the training part."""

    vocabulary_size: int = 8192
    """Most entries of a tokenizer trained on the data; small data give fewer."""

    max_tokens: int = 77
    """Longest text in tokens, [CLS] and [SEP] included; what is longer is cut."""

    width: int | None = None
    """Overrides the preset's width."""

    depth: int | None = None
    """Overrides the preset's number of layers."""

    heads: int | None = None
    """Overrides the number of attention heads; by default one for every 64 of width."""

    dropout: float = 0.0
    """Dropout inside the network, in [0, 1), in a clip of its attention alone; a pre-trained one keeps its
    own."""

    def __post_init__(self) -> None:
        """Refuse what cannot work, with the option's name."""
        for name in ("width", "depth", "heads"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ConfigError(f"text.{name} is {value}; expected at least 1.")
        if self.max_tokens < 3:
            raise ConfigError(f"text.max_tokens is {self.max_tokens}; [CLS], one token and [SEP] need 3.")
        if self.vocabulary_size < 300:
            raise ConfigError(
                f"text.vocabulary_size is {self.vocabulary_size}; 256 bytes and the special tokens need 300."
            )
        if not 0 <= self.dropout < 1:
            raise ConfigError(f"text.dropout is {self.dropout}; expected a share in [0, 1).")


class TextFeatures(NamedTuple):
    """What a text encoder returns.

    Attributes:
        pooled: (B, D), one vector a text.
        tokens: (B, L, D), one vector a token; those of padding mean nothing.
    """

    pooled: Tensor
    tokens: Tensor


class TextEncoder(nn.Module):
    """A backbone of transformers with its pooling.

    Args:
        backbone: the transformers model.
        pooling: which vector stands for the text: the `first` ([CLS]) or the `last` real token.
    """

    def __init__(self, backbone: Any, *, pooling: Literal["first", "last"]) -> None:
        super().__init__()
        self.backbone: Any = backbone
        make_lean(self.backbone)
        self.pooling = pooling
        self.dim = int(backbone.config.hidden_size)
        self.causal = backbone.config.model_type == "clip_text_model"

    @classmethod
    def build(cls, config: TextEncoderConfig, *, vocabulary_size: int) -> TextEncoder:
        """A new encoder as the configuration says, or a pre-trained one.

        Args:
            config: the options.
            vocabulary_size: the tokenizer's number of entries.

        Raises:
            ConfigError: the pre-trained model cannot be loaded, has another vocabulary than the tokenizer, or
                reads fewer tokens.
        """
        if config.pretrained is None:
            backbone_config = _backbone_config(config, vocabulary_size)
            return cls(
                _build_backbone(backbone_config), pooling="last" if config.architecture == "clip" else "first"
            )
        backbone = _load_backbone(config.pretrained)
        if backbone.config.vocab_size < vocabulary_size:
            raise ConfigError(
                f"text.tokenizer has {vocabulary_size} entries, the pre-trained model "
                f"{backbone.config.vocab_size}; leave text.tokenizer out to take the model's own."
            )
        most = _most_tokens(backbone.config)
        if most is not None and config.max_tokens > most:
            raise ConfigError(
                f"text.max_tokens is {config.max_tokens}, and the pre-trained model reads {most} at most; "
                f"give --text.max-tokens {most}."
            )
        encoder = cls(backbone, pooling=_READ_AT[backbone.config.model_type])
        encoder.freeze_unread()
        return encoder

    def spec(self) -> dict[str, Any]:
        """Everything needed to build the same network again with `from_spec`, without a hub."""
        return {"backbone": self.backbone.config.to_dict(), "pooling": self.pooling}

    @classmethod
    def from_spec(cls, spec: dict[str, Any]) -> TextEncoder:
        """The inverse of `spec`, with fresh weights."""
        from transformers import AutoConfig

        values = dict(spec["backbone"])
        return cls(
            _build_backbone(AutoConfig.for_model(values.pop("model_type"), **values)), pooling=spec["pooling"]
        )

    def freeze_unread(self) -> None:
        """Leave weights out of training that no feature depends on; see `freeze_unread`."""
        freeze_unread(self, torch.zeros(1, 2, dtype=torch.int64), torch.ones(1, 2, dtype=torch.bool))

    def forward(self, tokens: Tensor, mask: Tensor) -> TextFeatures:
        """Encode tokens.

        Args:
            tokens: (B, L) int64, padded on the right.
            mask: (B, L) bool, True on real tokens.

        Returns:
            The pooled vectors and one a token, neither of unit length.
        """
        if self.backbone.config.model_type == "bert":
            states = packed_bert(self.backbone, tokens, mask)  # (B, L, D)
        else:
            # Padding stands on the right, so a causal network's real tokens never see it: without a mask the
            # fused causal attention runs, which is faster and gives the real tokens the same values.
            seen = None if self.causal else mask
            states = self.backbone(input_ids=tokens, attention_mask=seen).last_hidden_state
        if self.pooling == "first":
            return TextFeatures(states[:, 0], states)
        last = mask.sum(dim=1) - 1  # (B,)
        return TextFeatures(states[torch.arange(len(states), device=states.device), last], states)


def _backbone_config(config: TextEncoderConfig, vocabulary_size: int) -> Any:
    """The transformers configuration that stands for ours."""
    from transformers import BertConfig, CLIPTextConfig

    width, depth = _PRESETS[config.preset]
    width, depth = config.width or width, config.depth or depth
    heads = config.heads or max(1, width // 64)
    if width % heads:
        raise ConfigError(f"text.width {width} is not a multiple of text.heads {heads}.")
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
        # BERT's own 0.02 is for 768: in a narrow network words then say next to nothing at first, and it
        # learns at half the pace (192 wide, two layers, CLIP on scenes: 32 % instead of 46 % after 300
        # steps). This keeps the size of what passes through.
        initializer_range=width**-0.5,
    )


def _build_backbone(backbone_config: Any) -> nn.Module:
    from transformers import AutoModel, CLIPTextModel

    kind = backbone_config.model_type
    if kind == "clip_text_model":  # AutoModel does not list the text half
        clip: nn.Module = CLIPTextModel._from_config(backbone_config, **attention_of(kind))
        return clip
    bert: nn.Module = AutoModel.from_config(backbone_config, **_unused_parts(kind), **attention_of(kind))
    return bert


def _most_tokens(config: Any) -> int | None:
    """For how many tokens a backbone has positions; None where it has no such bound."""
    count: int | None = getattr(config, "max_position_embeddings", None)
    if count is None or config.model_type not in _POSITIONS_AFTER_PADDING:
        return count
    return count - int(config.pad_token_id) - 1


def _load_backbone(name: str) -> Any:
    """A pre-trained model by hub name or folder."""
    from transformers import AutoConfig, AutoModel

    try:
        config = AutoConfig.from_pretrained(name)
    except (OSError, ValueError, ImportError) as error:
        raise _cannot_load(name, error) from error
    kind = config.model_type
    if not hasattr(config, "vocab_size"):
        raise ConfigError(
            f"text.pretrained: {name!r} is a {kind}, not a text encoder; name its text half "
            "(a folder with a CLIPTextModel, say) or a BERT."
        )
    if kind not in _READ_AT:
        raise ConfigError(
            f"text.pretrained: {name!r} is a {kind}, not a text encoder that is known here: "
            f"{', '.join(_READ_AT)}."
        )
    try:
        # Weights stay float32 however they were stored: precision is a matter of training.
        return AutoModel.from_pretrained(
            name, dtype=torch.float32, **_unused_parts(kind), **attention_of(kind)
        )
    except (OSError, ValueError, ImportError) as error:
        raise _cannot_load(name, error) from error


def _cannot_load(name: str, error: Exception) -> ConfigError:
    return ConfigError(
        f"text.pretrained: cannot load {name!r} ({first_line(error)}). "
        "Expected a folder written by transformers, or a hub name and a network to fetch it with."
    )


def _unused_parts(model_type: str) -> dict[str, bool]:
    """BERT's pooler would be a weight without use or gradient: [CLS] is read directly."""
    return {"add_pooling_layer": False} if model_type in ("bert", "roberta", "xlm-roberta") else {}
