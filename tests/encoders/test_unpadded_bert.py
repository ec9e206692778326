"""BERT without padding: against transformers' own layers on padded texts."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from likewise.encoders.fast.unpadded_bert import Packing, self_attention
from likewise.encoders.text import TextEncoder, TextEncoderConfig

LENGTHS = (6, 1, 3, 6, 2)
MASK = torch.arange(6) < torch.tensor(LENGTHS)[:, None]


def bert() -> TextEncoder:
    """Two layers in float64, all of whose weights matter."""
    torch.manual_seed(0)
    config = TextEncoderConfig(architecture="bert", width=32, depth=2, heads=2, max_tokens=8)
    made = TextEncoder.build(config, vocabulary_size=300).double().eval()
    with torch.no_grad():
        for weight in made.parameters():
            weight += 0.1 * torch.randn_like(weight)
    return made


def unpadded(text: TextEncoder, tokens: Tensor, mask: Tensor) -> Tensor:
    """(P, L, D) last states."""
    states: Tensor = text.backbone(input_ids=tokens, attention_mask=mask).last_hidden_state
    return states


def texts(mask: Tensor = MASK) -> Tensor:
    generator = torch.Generator().manual_seed(1)
    return torch.randint(4, 300, mask.shape, generator=generator).masked_fill(~mask, 0)


def test_real_tokens_stand_side_by_side_and_go_back() -> None:
    packing = Packing(MASK)
    rows = torch.randn(5, 6, 2, 3)
    packed = packing.pack(rows)
    assert torch.equal(packed, rows[MASK])
    assert torch.equal(packing.unpack(packed), rows * MASK[:, :, None, None])
    assert packing.firsts.tolist() == [0, 6, 7, 10, 16]
    assert packing.tokens_before(*range(6)) == [0, 6, 7, 10, 16, 18]


def test_values_and_gradients_are_transformers_own() -> None:
    text, tokens = bert(), texts()
    weight = torch.randn(18, 32, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    packed = unpadded(text, tokens, MASK)
    padded = text.backbone(tokens, MASK, output_hidden_states=True).last_hidden_state
    torch.testing.assert_close(packed[MASK], padded[MASK])
    assert torch.equal(packed[~MASK], torch.zeros(12, 32, dtype=torch.float64))
    found, wanted = (
        torch.autograd.grad((states[MASK] * weight).sum(), list(text.backbone.parameters()))
        for states in (packed, padded)
    )
    for own, other in zip(found, wanted, strict=True):
        torch.testing.assert_close(own, other, rtol=1e-6, atol=1e-9)
    assert torch.equal(text(tokens, MASK).tokens, packed)


def test_the_length_that_a_batch_is_padded_to_changes_nothing() -> None:
    text, tokens = bert(), texts()
    whole = unpadded(text, tokens, MASK)
    for row, length in enumerate(LENGTHS):
        one = slice(row, row + 1)
        alone = unpadded(text, tokens[one, :length], MASK[one, :length])
        torch.testing.assert_close(alone, whole[one, :length])


def test_a_text_without_tokens_is_its_first_place_alone() -> None:
    """No NaN, whatever stands there, and the others are as they were."""
    text = bert()
    nothing = MASK.clone()
    nothing[1] = False
    whole = unpadded(text, texts(), MASK)
    torch.testing.assert_close(unpadded(text, texts(), nothing), whole)


@pytest.mark.parametrize("layer", [0, 1])
def test_first_tokens_alone_find_what_they_find_among_all(layer: int) -> None:
    text, packing = bert(), Packing(MASK)
    states = torch.randn(18, 32, dtype=torch.float64)
    attending = text.backbone.encoder.layer[layer]
    every = self_attention(attending, states, packing)
    torch.testing.assert_close(
        self_attention(attending, states, packing, only_firsts=True), every[packing.firsts]
    )


def test_dropout_acts_in_training_alone() -> None:
    text = bert()
    for module in text.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.5
    assert torch.equal(unpadded(text, texts(), MASK), unpadded(text, texts(), MASK))
    text.train()
    for layer in text.backbone.encoder.layer:  # of the attention's weights too
        layer.attention.output.dropout.p = layer.output.dropout.p = 0.0
    text.backbone.embeddings.dropout.p = 0.0
    first, second = (unpadded(text, texts(), MASK) for _ in range(2))
    assert not torch.allclose(first[MASK], second[MASK])
