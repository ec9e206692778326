"""Text encoders: a Transformer of Hugging Face transformers, or a recurrent network, with its pooling.

Dimensions: B batch, L tokens, D width of the features.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple, get_args

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from likewise.encoders.backbone_spec import (
    MAX_VOCABULARY,
    check_choice,
    check_size,
    config_from_spec,
)
from likewise.encoders.fast.install import install_fast_layers
from likewise.encoders.own import OWN, OwnBackbone, own_backbone
from likewise.encoders.pretrained import OwnPooling, TextPooling, TokenPooling, read_pooling
from likewise.encoders.pretrained_text import (
    TEXT_MODELS,
    build_text_model,
    load_text_model,
    padding_read,
    position_limit,
    text_width,
)
from likewise.encoders.recurrent_text import RECURRENT, RecurrentBackbone, RecurrentConfig
from likewise.encoders.text_options import POOLED_BY_DEFAULT, TextEncoderConfig, text_backbone_config
from likewise.encoders.unused_weights import freeze_unused
from likewise.errors import ConfigError

__all__ = ["TextEncoder", "TextEncoderConfig", "TextFeatures"]

# Names of dropout's probability in configurations and in attention layers that have no module for it.
_DROPOUTS = (
    "attention_dropout",
    "attention_probs_dropout_prob",
    "dropout",
    "hidden_dropout_prob",
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
            or the `mean` or `max` over the real ones; `own`: the output of the backbone's pooler.
        normalize: scale the pooled vectors to unit length, as some sentence-transformers models do.
        padded_with: the padding's id, of a backbone that was trained on texts padded to its number of
            positions, and reads the padding (SigLIP); None for all others, which never do.
    """

    def __init__(
        self,
        backbone: Any,
        *,
        pooling: TokenPooling | OwnPooling,
        normalize: bool = False,
        padded_with: int | None = None,
    ) -> None:
        super().__init__()
        self.backbone: Any = backbone
        self.locked = False
        self.recurrent = isinstance(backbone, RecurrentBackbone)
        if not isinstance(backbone, (RecurrentBackbone, OwnBackbone)):
            install_fast_layers(self.backbone)
        self.pooling = pooling
        self.normalize = normalize
        self.padded_with = padded_with
        self.dim = text_width(backbone.config)
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
        if config.own is not None:
            own = own_backbone("text", config.own, new=True)
            own.check_takes(max_tokens=config.max_tokens, vocabulary_size=vocabulary_size)
            return cls(own, pooling="own")
        if config.pretrained is None:
            backbone_config = text_backbone_config(config, vocabulary_size)
            pooling = config.pooling or POOLED_BY_DEFAULT[config.architecture]
            return cls(_build_backbone(backbone_config), pooling=pooling)
        backbone = load_text_model(config.pretrained)
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
        pooled = read_pooling(config.pretrained) or TextPooling(
            TEXT_MODELS[backbone.config.model_type], normalize=False
        )
        encoder = cls(
            backbone,
            pooling=config.pooling or pooled.pooling,
            normalize=pooled.normalize,
            padded_with=padding_read(config.pretrained, backbone.config),
        )
        encoder.freeze_unused()
        return encoder

    def spec(self) -> dict[str, Any]:
        """What `from_spec` needs, as JSON; no hub is asked again."""
        spec = {
            "backbone": self.backbone.config.to_dict(),
            "pooling": self.pooling,
            "normalize": self.normalize,
        }
        return spec if self.padded_with is None else spec | {"padded_with": self.padded_with}

    @classmethod
    def from_spec(cls, spec: dict[str, Any]) -> TextEncoder:
        """The inverse of `spec`, with fresh weights."""
        pooling, padding = spec["pooling"], spec.get("padded_with")
        check_choice("pooling", pooling, (*get_args(TokenPooling), *get_args(OwnPooling)))
        if padding is not None:
            check_size("padded_with", padding, least=0, most=MAX_VOCABULARY)
        stored = spec["backbone"]
        if isinstance(stored, dict) and stored.get("model_type") == OWN:
            return cls(own_backbone("text", str(stored.get("name"))), pooling="own")
        if isinstance(stored, dict) and stored.get("model_type") in RECURRENT:
            config: Any = RecurrentConfig.from_dict(stored)
        else:
            config = config_from_spec(stored, known=TEXT_MODELS)
        backbone = _build_backbone(config, pooler=pooling == "own")
        return cls(backbone, pooling=pooling, normalize=spec.get("normalize", False), padded_with=padding)

    def freeze_unused(self) -> None:
        """Freeze weights that no feature depends on."""
        freeze_unused(self, torch.zeros(1, 2, dtype=torch.int64), torch.ones(1, 2, dtype=torch.bool))

    def train(self, mode: bool = True) -> TextEncoder:
        """As of nn.Module; a locked encoder stays as in evaluation, without dropout."""
        return super().train(mode and not self.locked)

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
        if self.padded_with is not None:
            return self._padded_forward(tokens, mask, self.padded_with)
        # Padding is on the right, so real tokens of a causal model never attend to it: without a mask the
        # fused causal attention runs, which is faster and gives real tokens the same values.
        attended = None if self.causal else mask
        output = self.backbone(input_ids=tokens, attention_mask=attended)
        states = output.last_hidden_state  # (B, L, D)
        if self.pooling != "own":
            pooled = self._pool(states, mask)
        else:
            pooler = getattr(self.backbone, "pooler", None)
            pooled = output.pooler_output if pooler is None else pooler(states)
        return TextFeatures(F.normalize(pooled, dim=-1) if self.normalize else pooled, states)

    def _padded_forward(self, tokens: Tensor, mask: Tensor, padding: int) -> TextFeatures:
        """Of a backbone that reads a fixed number of tokens, the padding included."""
        length = self.backbone.config.max_position_embeddings
        filled = tokens.new_full((tokens.shape[0], length), padding)
        filled[:, : tokens.shape[1]] = tokens.masked_fill(~mask, padding)
        output = self.backbone(input_ids=filled)
        states = output.last_hidden_state[:, : tokens.shape[1]]
        return TextFeatures(
            output.pooler_output if self.pooling == "own" else self._pool(states, mask), states
        )

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
            case _:  # max
                return states.masked_fill(~mask[..., None], -torch.inf).amax(dim=1)


def _build_backbone(backbone_config: Any, *, pooler: bool = False) -> nn.Module:
    if isinstance(backbone_config, RecurrentConfig):
        return RecurrentBackbone(backbone_config)
    return build_text_model(backbone_config, pooler=pooler)
