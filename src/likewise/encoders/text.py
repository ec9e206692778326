"""Text encoders: a Transformer of Hugging Face transformers, or a recurrent network, with its pooling.

Dimensions: B batch, L tokens, D width of the features.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, get_args

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from likewise.encoders.backbone_spec import check_choice, config_from_spec
from likewise.encoders.fast.install import install_fast_layers
from likewise.encoders.pretrained import (
    TextPooling,
    TokenPooling,
    load_backbone,
    load_config,
    read_pooling,
    without_pooler,
)
from likewise.encoders.recurrent_text import RECURRENT, RecurrentBackbone, RecurrentConfig
from likewise.encoders.transformer_sizes import check_sizes, width_depth_heads
from likewise.encoders.unused_weights import freeze_unused
from likewise.errors import ConfigError

__all__ = ["TextEncoder", "TextEncoderConfig", "TextFeatures", "position_limit"]

# Supported model types, and the token whose state is the text's vector: [CLS] or the end token.
_POOLED_AT: dict[str, Literal["first", "last"]] = {
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
"""Model types whose positions start after the padding's id, which leaves fewer of them."""

# Names of dropout's probability in configurations and in attention layers that have no module for it.
_DROPOUTS = (
    "attention_dropout",
    "attention_probs_dropout_prob",
    "dropout",
    "hidden_dropout_prob",
)

_PRESETS = {"tiny": (192, 4), "small": (384, 6), "base": (512, 12)}  # width, depth
_RECURRENT_DEPTHS = {"tiny": 1, "small": 1, "base": 2}
_POOLED_BY_DEFAULT: dict[str, TokenPooling] = {
    "clip": "last",
    "bert": "first",
    "rnn": "max",
    "lstm": "max",
    "gru": "max",
}


@dataclass(frozen=True, kw_only=True)
class TextEncoderConfig:
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


class TextFeatures(NamedTuple):
    """What a text encoder returns.

    Attributes:
        pooled: (B, D), one vector per text.
        tokens: (B, L, D), one vector per token; those of padding mean nothing.
    """

    pooled: Tensor
    tokens: Tensor


class TextEncoder(nn.Module):
    """A backbone of transformers with its pooling.

    Args:
        backbone: the transformers model.
        pooling: what stands for the text: the state of the `first` token ([CLS]) or of the `last` real one,
            or the `mean` or `max` over the real ones.
        normalize: scale the pooled vectors to unit length, as some sentence-transformers models do.
    """

    def __init__(self, backbone: Any, *, pooling: TokenPooling, normalize: bool = False) -> None:
        super().__init__()
        self.backbone: Any = backbone
        self.recurrent = isinstance(backbone, RecurrentBackbone)
        if not self.recurrent:
            install_fast_layers(self.backbone)
        self.pooling = pooling
        self.normalize = normalize
        self.dim = int(backbone.config.hidden_size)
        self.causal = backbone.config.model_type == "clip_text_model"

    @classmethod
    def build(cls, config: TextEncoderConfig, *, vocabulary_size: int) -> TextEncoder:
        """A new or a pre-trained encoder.

        Args:
            config: the options.
            vocabulary_size: the tokenizer's number of entries.

        Raises:
            ConfigError: the pre-trained model cannot be loaded, or has a smaller vocabulary or fewer
                positions than wanted.
        """
        if config.pretrained is None:
            backbone_config = _backbone_config(config, vocabulary_size)
            pooling = config.pooling or _POOLED_BY_DEFAULT[config.architecture]
            return cls(_build_backbone(backbone_config), pooling=pooling)
        found = load_config(config.pretrained, section="text", known=_POOLED_AT)
        backbone = load_backbone(config.pretrained, found, section="text")
        if backbone.config.vocab_size < vocabulary_size:
            raise ConfigError(
                f"--text.tokenizer has {vocabulary_size} entries, the pre-trained model "
                f"{backbone.config.vocab_size}; leave --text.tokenizer out to take the model's own."
            )
        most = position_limit(backbone.config)
        if most is not None and config.max_tokens > most:
            raise ConfigError(
                f"--text.max-tokens is {config.max_tokens}, and the pre-trained model reads {most} at most; "
                f"give --text.max-tokens {most}."
            )
        own = TextPooling(_POOLED_AT[backbone.config.model_type], normalize=False)
        pooled = read_pooling(config.pretrained) or own
        encoder = cls(backbone, pooling=config.pooling or pooled.pooling, normalize=pooled.normalize)
        encoder.freeze_unused()
        return encoder

    def spec(self) -> dict[str, Any]:
        """What `from_spec` needs, as JSON; no hub is asked again."""
        return {
            "backbone": self.backbone.config.to_dict(),
            "pooling": self.pooling,
            "normalize": self.normalize,
        }

    @classmethod
    def from_spec(cls, spec: dict[str, Any]) -> TextEncoder:
        """The inverse of `spec`, with fresh weights."""
        check_choice("pooling", spec["pooling"], get_args(TokenPooling))
        stored = spec["backbone"]
        if isinstance(stored, dict) and stored.get("model_type") in RECURRENT:
            config: Any = RecurrentConfig.from_dict(stored)
        else:
            config = config_from_spec(stored, known=_POOLED_AT)
        return cls(_build_backbone(config), pooling=spec["pooling"], normalize=spec.get("normalize", False))

    def freeze_unused(self) -> None:
        """Freeze weights that no feature depends on."""
        freeze_unused(self, torch.zeros(1, 2, dtype=torch.int64), torch.ones(1, 2, dtype=torch.bool))

    @property
    def dropout(self) -> float:
        """The largest dropout in it."""
        return max((share for _, _, share in self._dropouts()), default=0.0)

    def set_dropout(self, share: float) -> None:
        """Give all its dropout this probability, in [0, 1)."""
        for module, name, _ in self._dropouts():
            setattr(module, name, share)
        for name in _DROPOUTS:
            if isinstance(getattr(self.backbone.config, name, None), float):
                setattr(self.backbone.config, name, share)

    def _dropouts(self) -> Iterator[tuple[nn.Module, str, float]]:
        """Each module that drops values, the attribute that says how many, and its value."""
        for module in self.backbone.modules():
            for name in ("p",) if isinstance(module, nn.Dropout) else _DROPOUTS:
                share = getattr(module, name, None)
                if isinstance(share, float):
                    yield module, name, share

    def forward(self, tokens: Tensor, mask: Tensor) -> TextFeatures:
        """Encode tokens.

        Args:
            tokens: (B, L) int64, padded on the right.
            mask: (B, L) bool, True on real tokens.

        Returns:
            The pooled vectors, of unit length only where `normalize` says so, and one per token.
        """
        # Padding is on the right, so real tokens of a causal model never attend to it: without a mask the
        # fused causal attention runs, which is faster and gives real tokens the same values.
        attended = None if self.causal else mask
        states = self.backbone(input_ids=tokens, attention_mask=attended).last_hidden_state  # (B, L, D)
        pooled = self._pool(states, mask)
        return TextFeatures(F.normalize(pooled, dim=-1) if self.normalize else pooled, states)

    def _pool(self, states: Tensor, mask: Tensor) -> Tensor:
        """(B, L, D) states of the tokens to (B, D)."""
        match self.pooling:
            case "first":
                return states[:, 0]
            case "last":
                last = mask.sum(dim=1) - 1  # (B,)
                ends = states[torch.arange(states.shape[0], device=states.device), last]
                if not self.recurrent:
                    return ends
                half = states.shape[2] // 2  # the backward direction ends at the first token
                return torch.cat([ends[:, :half], states[:, 0, half:]], dim=1)
            case "mean":
                count = mask.sum(dim=1, keepdim=True)  # (B, 1)
                return states.masked_fill(~mask[..., None], 0).sum(dim=1) / count
            case "max":
                return states.masked_fill(~mask[..., None], -torch.inf).amax(dim=1)


def _backbone_config(config: TextEncoderConfig, vocabulary_size: int) -> Any:
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


def _build_backbone(backbone_config: Any) -> nn.Module:
    if isinstance(backbone_config, RecurrentConfig):
        return RecurrentBackbone(backbone_config)
    from transformers import AutoModel, CLIPTextModel

    if backbone_config.model_type == "clip_text_model":  # AutoModel does not list the text half
        clip: nn.Module = CLIPTextModel._from_config(backbone_config)
        return clip
    bert: nn.Module = AutoModel.from_config(backbone_config, **without_pooler(backbone_config))
    return bert


def position_limit(config: Any) -> int | None:
    """The number of tokens that a backbone has positions for; None where it has no such limit."""
    count: int | None = getattr(config, "max_position_embeddings", None)
    if count is None or config.model_type not in _POSITIONS_AFTER_PADDING:
        return count
    return count - int(config.pad_token_id) - 1
