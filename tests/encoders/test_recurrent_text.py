"""Recurrent text encoders: padding, pooling by hand, specs, options that make no sense."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from likewise.encoders.recurrent_text import RECURRENT, RecurrentConfig
from likewise.encoders.text import TextEncoder, TextEncoderConfig
from likewise.errors import ConfigError, ModelError
from likewise.networks.registry import network_from_spec
from likewise.networks.text import TextNetwork

LENGTHS = [6, 1, 3, 4]
MASK = torch.arange(6) < torch.tensor(LENGTHS)[:, None]


def build(kind: str, **options: Any) -> TextEncoder:
    torch.manual_seed(0)
    config = TextEncoderConfig(architecture=kind, width=8, **options)  # type: ignore[arg-type]
    return TextEncoder.build(config, vocabulary_size=300).eval()


def tokens() -> Tensor:
    generator = torch.Generator().manual_seed(1)
    return torch.randint(4, 300, MASK.shape, generator=generator).masked_fill(~MASK, 0)


@pytest.mark.parametrize("kind", RECURRENT)
@pytest.mark.parametrize("pooling", ["last", "mean", "max"])
@pytest.mark.parametrize("depth", [1, 2])
def test_vectors_do_not_depend_on_padding_or_on_others(kind: str, pooling: str, depth: int) -> None:
    encoder = build(kind, pooling=pooling, depth=depth).double()
    together = encoder(tokens(), MASK).pooled
    longer = torch.nn.functional.pad(tokens(), (0, 5), value=7), torch.nn.functional.pad(MASK, (0, 5))
    torch.testing.assert_close(encoder(*longer).pooled, together, rtol=0, atol=1e-12)
    for row, length in enumerate(LENGTHS):
        alone = encoder(tokens()[row : row + 1, :length], MASK[row : row + 1, :length]).pooled
        torch.testing.assert_close(alone[0], together[row], rtol=0, atol=1e-12)


def test_the_last_state_is_that_of_each_direction() -> None:
    encoder = build("gru", pooling="last")
    row, length = 2, LENGTHS[2]
    embedded = encoder.backbone.embedding(tokens()[row, :length])[None]
    _, ends = encoder.backbone.layers(embedded)  # (2, 1, H): forward, backward
    torch.testing.assert_close(encoder(tokens(), MASK).pooled[row], ends[:, 0].flatten())


def test_an_elman_network_by_hand() -> None:
    """tanh of the linear maps of token and former state, one token after another."""
    encoder = build("rnn", pooling="last")
    layer = encoder.backbone.layers
    state = torch.zeros(4)
    for token in tokens()[3, :4]:
        embedded = encoder.backbone.embedding(token)
        state = torch.tanh(
            layer.weight_ih_l0 @ embedded + layer.bias_ih_l0 + layer.weight_hh_l0 @ state + layer.bias_hh_l0
        )
    torch.testing.assert_close(encoder(tokens(), MASK).pooled[3, :4], state)


@pytest.mark.parametrize("kind", RECURRENT)
def test_it_is_built_again_from_its_spec(kind: str) -> None:
    network = TextNetwork(build(kind, dropout=0.25))
    again: Any = network_from_spec(network.spec())
    again.load_state_dict(network.state_dict())
    torch.testing.assert_close(
        again.eval().encode_texts(tokens(), MASK), network.encode_texts(tokens(), MASK)
    )
    assert again.text.dropout == 0.25
    with torch.device("meta"):
        network_from_spec(network.spec())


def test_dropout_acts_in_training_alone_and_can_be_set() -> None:
    encoder = build("lstm", depth=2)
    assert encoder.dropout == 0
    encoder.set_dropout(0.5)
    assert (encoder.dropout, encoder.spec()["backbone"]["dropout"]) == (0.5, 0.5)
    torch.testing.assert_close(encoder(tokens(), MASK).pooled, encoder(tokens(), MASK).pooled)
    encoder.train()
    assert not torch.equal(encoder(tokens(), MASK).pooled, encoder(tokens(), MASK).pooled)


@pytest.mark.parametrize("kind", ["bert", "clip"])
def test_dropout_of_transformers_can_be_set(kind: str) -> None:
    encoder = build(kind, heads=2, depth=1)
    encoder.set_dropout(0.5)
    assert encoder.dropout == 0.5
    encoder.train()
    assert not torch.equal(encoder(tokens(), MASK).pooled, encoder(tokens(), MASK).pooled)
    assert TextEncoder.from_spec(encoder.spec()).dropout == 0.5


def test_options_without_sense_are_rejected() -> None:
    for options, said in (
        ({"heads": 2}, "--text.heads"),
        ({"pooling": "first"}, "--text.pooling first"),
        ({"width": 7}, "--text.width is 7"),
    ):
        with pytest.raises(ConfigError, match=said):
            TextEncoderConfig(architecture="gru", **options)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "change",
    [
        {"hidden_size": 1 << 40},
        {"hidden_size": 3},
        {"dropout": 2.0},
        {"vocab_size": "x"},
        {"num_hidden_layers": 99},
    ],
)
def test_a_strangers_sizes_are_bounded(change: dict[str, Any]) -> None:
    values = RecurrentConfig("lstm", 300, 8).to_dict() | change
    with pytest.raises(ModelError):
        RecurrentConfig.from_dict(values)
    with pytest.raises(ModelError, match="lacks vocab_size"):
        RecurrentConfig.from_dict({"model_type": "rnn", "hidden_size": 8})
