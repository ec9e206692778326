"""Decoders: from an image (or fused image and text) to a sentence, one token at a time.

Three families behind one interface: recurrent with soft attention (Xu et al. 2015, arXiv 1502.03044),
recurrent from the pooled feature (Vinyals et al. 2014, arXiv 1411.4555), and Transformer with
cross-attention.

Dimensions: B images, K beams an image, R = B K rows, L tokens, N memory tokens, E memory width, D width,
V vocabulary.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from likewise.errors import ConfigError

__all__ = ["Decoder", "DecoderConfig", "DecoderOutput", "DecoderState", "Memory", "as_beams"]


@dataclass(frozen=True, kw_only=True)
class DecoderConfig:
    """The network that writes sentences."""

    architecture: Literal["transformer", "lstm", "gru", "rnn"] = "transformer"
    """Family of the decoder."""

    width: int = 192
    """Of the states and of the token embedding."""

    depth: int | None = None
    """Layers (Transformer only); 2 by default."""

    heads: int | None = None
    """Attention heads (Transformer only); one for every 64 of width by default."""

    attention: bool = True
    """Recurrent decoders: soft attention over the image's tokens at every step. Without it the pooled feature
    starts the state, and nothing else is seen of the image."""

    dropout: float = 0.1
    """Dropout on embeddings, layers and the output, in [0, 1)."""

    tie_weights: bool = True
    """Use the token embedding as the output layer too."""

    def __post_init__(self) -> None:
        """Check every value that can be checked here."""
        for name in ("width", "depth", "heads"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ConfigError(f"--method.decoder-{name} is {value}; expected at least 1.")
        if not 0 <= self.dropout < 1:
            raise ConfigError(f"--method.dropout is {self.dropout}; expected a share in [0, 1).")
        if self.architecture != "transformer" and (self.depth or self.heads):
            raise ConfigError(
                f"--method.decoder-depth is for a transformer; a {self.architecture} has one layer."
            )
        if self.architecture == "transformer" and not self.attention:
            raise ConfigError(
                "--method.no-attention is for recurrent decoders; a transformer always attends."
            )
        if self.dim % self.num_heads:
            raise ConfigError(f"--method.decoder-width {self.dim} does not fit {self.num_heads} heads.")

    @property
    def dim(self) -> int:
        """D."""
        return self.width

    @property
    def num_layers(self) -> int:
        """Layers of a Transformer."""
        return self.depth or 2

    @property
    def num_heads(self) -> int:
        """Attention heads of a Transformer."""
        return self.heads or max(1, self.dim // 64)


class Memory(NamedTuple):
    """What a decoder reads.

    Attributes:
        tokens: (B, N, E), such as an image's patches.
        pooled: (B, E), such as an image's feature.
        mask: (B, N) bool, True on real tokens; None where all are.
    """

    tokens: Tensor
    pooled: Tensor
    mask: Tensor | None = None

    def repeat(self, times: int) -> Memory:
        """Each of the B several times in a row."""
        mask = None if self.mask is None else self.mask.repeat_interleave(times, dim=0)
        tokens, pooled = (part.repeat_interleave(times, dim=0) for part in (self.tokens, self.pooled))
        return Memory(tokens, pooled, mask)


class DecoderOutput(NamedTuple):
    """Teacher-forced states.

    Attributes:
        states: (B, L, D); `Decoder.logits` turns them into (B, L, V).
        attention: (B, L, N), where each step looks (a Transformer's last layer, mean over heads); None where
            the decoder has no attention or it was not asked for.
    """

    states: Tensor
    attention: Tensor | None


@dataclass
class DecoderState:
    """The state of R rows between two steps of generation.

    Attributes:
        rows: tensors with R rows that go with a beam when beams are reordered.
        fixed: tensors with B rows, the same for all beams of an image.
        step: tokens read so far.
    """

    rows: dict[str, Tensor]
    fixed: dict[str, Any]
    step: int = 0

    def reorder(self, order: Tensor) -> None:
        """Let row r go on from what was row `order[r]`; order: (R,) int64."""
        self.rows = {name: value.index_select(0, order) for name, value in self.rows.items()}


class Decoder(nn.Module):
    """Base of the decoders: embedding, output layer, and the interface.

    Args:
        config: the decoder's options.
        memory_dim: E.
        vocabulary_size: V.
        max_tokens: longest sentence in tokens, with begin and end.
    """

    def __init__(
        self, config: DecoderConfig, *, memory_dim: int, vocabulary_size: int, max_tokens: int
    ) -> None:
        super().__init__()
        self.config, self.memory_dim = config, memory_dim
        self.vocabulary_size, self.max_tokens, self.dim = vocabulary_size, max_tokens, config.dim
        self.embedding = nn.Embedding(vocabulary_size, config.dim)
        nn.init.normal_(self.embedding.weight, std=config.dim**-0.5)
        # A tied output layer is the embedding itself, so that a saved model holds it once.
        self.output = None if config.tie_weights else nn.Linear(config.dim, vocabulary_size, bias=False)
        self.output_bias = nn.Parameter(torch.zeros(vocabulary_size))
        self.dropout = nn.Dropout(config.dropout)

    @classmethod
    def build(cls, config: DecoderConfig, **sizes: Any) -> Decoder:
        """A decoder of the family that `config` names, with fresh weights; `sizes` as of the constructor."""
        family = next(one for one in Decoder.__subclasses__() if one.handles(config))
        return family(config, **sizes)

    @classmethod
    def handles(cls, config: DecoderConfig) -> bool:
        """Whether this family is the one that `config` names."""
        raise NotImplementedError

    def forward(self, tokens: Tensor, memory: Memory, *, with_attention: bool = False) -> DecoderOutput:
        """Teacher forcing: state t has read tokens 0 .. t.

        Args:
            tokens: (B, L) int64; a Transformer also takes (B K, L), the sentences of an image side by side.
            memory: of B images.
            with_attention: return where each step looks.
        """
        raise NotImplementedError

    def start(self, memory: Memory, *, num_beams: int = 1) -> DecoderState:
        """The state before the first token, K rows for each image, those of one image side by side."""
        raise NotImplementedError

    def step(self, tokens: Tensor, state: DecoderState) -> Tensor:
        """Read one token a row, (R,) int64; advances `state`; (R, V) logits of the next. Costs one token."""
        raise NotImplementedError

    def logits(self, states: Tensor) -> Tensor:
        """(..., D) to (..., V)."""
        weight = self.embedding.weight if self.output is None else self.output.weight
        return F.linear(states, weight, self.output_bias)

    def spec(self) -> dict[str, Any]:
        """What `from_spec` needs."""
        sizes = {name: getattr(self, name) for name in ("memory_dim", "vocabulary_size", "max_tokens")}
        return {"config": asdict(self.config), **sizes}

    @classmethod
    def from_spec(cls, spec: dict[str, Any]) -> Decoder:
        """The inverse of `spec`, with fresh weights."""
        sizes = {name: value for name, value in spec.items() if name != "config"}
        # The first models also name a preset, which their width overrides.
        config = {name: value for name, value in spec["config"].items() if name != "preset"}
        return Decoder.build(DecoderConfig(**config), **sizes)


def as_beams(rows: Tensor, num_images: int) -> Tensor:
    """(B K, ...) rows to (B, K, ...)."""
    return rows.view(num_images, -1, *rows.shape[1:])
