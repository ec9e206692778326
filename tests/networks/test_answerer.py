"""The network of question answering: its decoder starts from the fusion layers, its scores are exact."""

from __future__ import annotations

import itertools

import pytest
import torch
from torch import Tensor

from likewise.encoders import ImageEncoder, ImageEncoderConfig, TextEncoder, TextEncoderConfig
from likewise.encoders.decoders import Decoding, decoder_like_fusion, start_from_fusion
from likewise.encoders.decoders.transformer import DecoderLayer
from likewise.encoders.fusion import cut_fusion, fusion_above
from likewise.errors import ConfigError, ModelError
from likewise.networks import answerer
from likewise.networks.answerer import AnswerNetwork
from likewise.networks.registry import network_from_spec

VOCABULARY, MAX_TOKENS = 40, 12


def small_text(architecture: str = "bert") -> TextEncoder:
    config = TextEncoderConfig(
        architecture=architecture,  # type: ignore[arg-type]
        width=32,
        depth=4,
        heads=2,
        max_tokens=MAX_TOKENS,
    )
    return TextEncoder.build(config, vocabulary_size=VOCABULARY)


def small_network(architecture: str = "bert") -> AnswerNetwork:
    torch.manual_seed(0)
    image = ImageEncoder.build(ImageEncoderConfig(image_size=32, width=32, depth=1))
    text = small_text(architecture)
    make = cut_fusion if architecture == "bert" else fusion_above
    fusion = make(text, depth=2, image_dim=image.dim)
    decoder = decoder_like_fusion(fusion, vocabulary_size=VOCABULARY, max_tokens=MAX_TOKENS)
    start_from_fusion(decoder, fusion, text)
    return AnswerNetwork(image, text, fusion, decoder, answers=["yes", "no"]).double().eval()


def questions(count: int, *, padding: int = 0) -> tuple[Tensor, Tensor, Tensor]:
    """Pixels, tokens and mask; the first question is the shortest."""
    generator = torch.Generator().manual_seed(1)
    pixels = torch.randn(3, 3, 32, 32, generator=generator, dtype=torch.float64)
    tokens = torch.randint(4, VOCABULARY, (3, MAX_TOKENS), generator=generator)
    lengths = torch.tensor([4, 7, 5])[:count]
    mask = torch.arange(int(lengths.max()) + padding) < lengths[:, None]
    return pixels[:count], tokens[:count, : mask.shape[1]].masked_fill(~mask, 0), mask


ANSWERS = torch.tensor([[1, 9, 2, 0, 0], [1, 9, 5, 7, 2], [1, 30, 11, 2, 0]])
REAL = torch.tensor([[1, 1, 1, 0, 0], [1, 1, 1, 1, 1], [1, 1, 1, 1, 0]]).bool()


@pytest.mark.parametrize("architecture", ["bert", "clip"])
@torch.no_grad()
def test_the_decoders_layers_compute_what_the_fusion_layers_would_causally(architecture: str) -> None:
    network = small_network(architecture)
    states = torch.randn(2, 6, 32, dtype=torch.float64)
    memory = torch.randn(2, 9, 32, dtype=torch.float64)
    causal = torch.ones(6, 6, dtype=torch.bool).tril()[None, None]
    for layer, fused in zip(network.decoder.layers, network.fusion.layers, strict=True):  # type: ignore[arg-type]
        assert isinstance(layer, DecoderLayer)
        expected = fused(states, causal, memory)  # type: ignore[operator]
        torch.testing.assert_close(layer(states, layer.memory_kv(memory), None), expected, rtol=0, atol=1e-10)


@torch.no_grad()
def test_the_decoder_begins_with_the_text_encoders_embeddings() -> None:
    network = small_network()
    below = network.text.backbone.embeddings
    tokens = torch.tensor([[1, 9, 5, 7]])
    expected = below(input_ids=tokens)
    found = network.decoder._embed(tokens, 0)  # type: ignore[operator]
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-6)  # the copy was made in float32


def test_a_feed_forward_part_of_another_width_is_named() -> None:
    text = small_text()
    fusion = cut_fusion(text, depth=1, image_dim=32)
    fusion.config.intermediate_size = 96
    with pytest.raises(ConfigError, match="is 96, for a width of 32"):
        decoder_like_fusion(fusion, vocabulary_size=VOCABULARY, max_tokens=MAX_TOKENS)


@torch.no_grad()
def test_scores_are_sums_over_tokens_each_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Against one question and one answer at a time, token by token, whatever the size of a pass."""
    network = small_network()
    pixels, tokens, mask = questions(3)
    expected = torch.zeros(3, 3, dtype=torch.float64)
    for row in range(3):
        length = int(mask[row].sum())
        memory = network.read_questions(
            pixels[row : row + 1], tokens[row : row + 1, :length], mask[row : row + 1, :length]
        )
        for number in range(3):
            state = network.decoder.start(memory)
            ids = ANSWERS[number, REAL[number]].tolist()
            for before, after in itertools.pairwise(ids):
                logits = network.decoder.step(torch.tensor([before]), state)
                expected[row, number] += logits.log_softmax(dim=-1)[0, after]
    memory = network.read_questions(pixels, tokens, mask)
    torch.testing.assert_close(network.score_answers(memory, ANSWERS, REAL), expected, rtol=0, atol=1e-10)
    sizes, whole = [], network.answer_logits
    monkeypatch.setattr(network, "answer_logits", lambda *given: sizes.append(len(given[1])) or whole(*given))
    for answers_at_once, passes in ((3, [9]), (2, [6, 3]), (0.5, [3, 3, 3])):
        sizes.clear()
        monkeypatch.setattr(answerer, "_LOGITS_AT_ONCE", int(answers_at_once * 3 * 5 * VOCABULARY))
        torch.testing.assert_close(network.score_answers(memory, ANSWERS, REAL), expected, rtol=0, atol=1e-10)
        assert sizes == passes


@torch.no_grad()
def test_scores_do_not_depend_on_padding_or_on_batch_mates() -> None:
    network = small_network()
    alone = network.score_answers(network.read_questions(*questions(1)), ANSWERS, REAL)
    wider = torch.cat([ANSWERS, torch.zeros(3, 2, dtype=torch.int64)], dim=1)
    real = torch.cat([REAL, torch.zeros(3, 2, dtype=torch.bool)], dim=1)
    for count, padding in ((1, 3), (2, 0), (3, 4)):
        memory = network.read_questions(*questions(count, padding=padding))
        found = network.score_answers(memory, wider, real)[:1]
        torch.testing.assert_close(found, alone, rtol=0, atol=1e-12)


@torch.no_grad()
def test_a_written_answer_has_the_probability_of_its_tokens() -> None:
    """Among all texts without a begin token, which is never written."""
    network = small_network()
    memory = network.read_questions(*questions(3))
    decoding = Decoding(num_beams=4, num_captions=2, length_penalty=0.0, max_tokens=5)
    found = network.write_answers(memory, begin_id=1, end_id=2, decoding=decoding)
    for row in range(3):
        one = network.read_questions(*(part[row : row + 1] for part in questions(3)))
        for k in range(2):
            ids = [1, *found.tokens[row, k, : found.lengths[row, k]].tolist()]
            state, expected = network.decoder.start(one), 0.0
            for before, after in itertools.pairwise(ids):
                logits = network.decoder.step(torch.tensor([before]), state)[0]
                logits[1] = float("-inf")
                expected += float(logits.log_softmax(dim=-1)[after])
            assert float(found.log_probs[row, k]) == pytest.approx(expected, abs=1e-10)


def test_a_spec_is_built_again_with_its_answers() -> None:
    network = small_network()
    again = network_from_spec(network.spec())
    assert isinstance(again, AnswerNetwork)
    assert again.known_answers() == ["yes", "no"]
    again.load_state_dict(network.state_dict())
    assert again.spec() == network.spec()
    for answers in ("yes", [1, 2], {"yes": 1}):
        with pytest.raises(ModelError, match="not a list of texts"):
            network_from_spec(network.spec() | {"answers": answers})
