"""Recurrent text backbones: an embedding and a bidirectional RNN, LSTM or GRU, packed by length.

They have the interface that `TextEncoder` needs of a transformers model.

Dimensions: B batch, L tokens, D width of the states, H = D / 2 of one direction.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from typing import Any, Literal, NamedTuple, get_args

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from likewise.encoders.backbone_spec import MAX_VOCABULARY, check_choice, check_size, shown
from likewise.encoders.fast.dropout import dropout
from likewise.errors import ModelError

__all__ = ["RECURRENT", "RecurrentBackbone", "RecurrentConfig", "RecurrentKind"]

RecurrentKind = Literal["rnn", "lstm", "gru"]
"""Elman 1990, with tanh; Hochreiter and Schmidhuber 1997; Cho et al. 2014, arXiv 1406.1078. Two directions:
Schuster and Paliwal 1997."""

RECURRENT: tuple[RecurrentKind, ...] = get_args(RecurrentKind)

_LAYERS: dict[str, Any] = {"rnn": nn.RNN, "lstm": nn.LSTM, "gru": nn.GRU}
_MAX_LAYERS = 64


@dataclass
class RecurrentConfig:
    """Sizes of a recurrent backbone, by the names that configurations of transformers have.

    Raises:
        ModelError: a size out of bounds.
    """

    model_type: RecurrentKind
    vocab_size: int
    hidden_size: int
    """D, of both directions together; an even number."""
    num_hidden_layers: int = 1
    dropout: float = 0.0
    """Of the embedding and of each layer's output; a float in [0, 1)."""

    def __post_init__(self) -> None:
        check_choice("model_type", self.model_type, RECURRENT)
        check_size("vocab_size", self.vocab_size, most=MAX_VOCABULARY)
        check_size("hidden_size", self.hidden_size)
        check_size("num_hidden_layers", self.num_hidden_layers, most=_MAX_LAYERS)
        if self.hidden_size % 2:
            raise ModelError(f"hidden_size is {self.hidden_size}; two directions need an even number")
        if not isinstance(self.dropout, float) or not 0 <= self.dropout < 1:
            raise ModelError(f"dropout is {shown(self.dropout)}; expected a probability in [0, 1)")

    def to_dict(self) -> dict[str, Any]:
        """As JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> RecurrentConfig:
        """The inverse of `to_dict`; other keys are left out."""
        known = [field.name for field in fields(cls)]
        lacking = [name for name in ("model_type", "vocab_size", "hidden_size") if name not in values]
        if lacking:
            raise ModelError(f"a recurrent backbone lacks {', '.join(lacking)}")
        return cls(**{name: values[name] for name in known if name in values})


class RecurrentStates(NamedTuple):
    """States of all tokens.

    Attributes:
        last_hidden_state: (B, L, D), the forward direction's H before the backward direction's; zeros at
            padding.
    """

    last_hidden_state: Tensor


class RecurrentBackbone(nn.Module):
    """An embedding and a stack of bidirectional recurrent layers.

    Args:
        config: sizes.
    """

    def __init__(self, config: RecurrentConfig) -> None:
        super().__init__()
        self.config = config
        width = config.hidden_size
        self.embedding = nn.Embedding(config.vocab_size, width)
        self.layers = _LAYERS[config.model_type](
            width,
            width // 2,
            num_layers=config.num_hidden_layers,
            batch_first=True,
            bidirectional=True,
            dropout=config.dropout if config.num_hidden_layers > 1 else 0.0,
        )
        self.dropout = config.dropout
        _initialize(self)

    def get_input_embeddings(self) -> nn.Embedding:
        """As of transformers."""
        return self.embedding

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> RecurrentStates:
        """(B, L) tokens and (B, L) mask, True on real tokens, which come first."""
        # A text without a token is read as one of padding: packing needs one step of each.
        lengths = attention_mask.sum(dim=1).clamp_min(1)
        embedded = self._drop(self.embedding(input_ids))
        packed = pack_padded_sequence(embedded, lengths.cpu(), batch_first=True, enforce_sorted=False)
        # Not every device has recurrent layers in half precision.
        with torch.autocast(embedded.device.type, enabled=False):
            output, _ = self.layers(packed)
        states, _ = pad_packed_sequence(output, batch_first=True, total_length=input_ids.shape[1])
        return RecurrentStates(self._drop(states))

    def _drop(self, rows: Tensor) -> Tensor:
        return dropout(rows, self.dropout) if self.training and self.dropout > 0 else rows


@torch.no_grad()
def _initialize(backbone: RecurrentBackbone) -> None:
    """Embeddings of unit variance per token; orthogonal recurrences (Saxe 2013, arXiv 1312.6120), which keep
    a state's length over many steps; an LSTM's forget gates open (Jozefowicz 2015)."""
    nn.init.normal_(backbone.embedding.weight, std=1.0)
    hidden = backbone.config.hidden_size // 2
    for name, weight in backbone.layers.named_parameters():
        if "weight_hh" in name:
            for gate in torch.split(weight, hidden):
                nn.init.orthogonal_(gate)
        elif "weight_ih" in name:
            nn.init.normal_(weight, std=weight.shape[1] ** -0.5)
        else:
            nn.init.zeros_(weight)
            if backbone.config.model_type == "lstm" and "bias_ih" in name:
                weight[hidden : 2 * hidden] = 1.0
