"""Decoders and generation: steps equal whole sentences, beams are exact, batches do not matter."""

import itertools

import pytest
import torch
from torch.nn import functional as F

from likewise.encoders.decoders import Decoder, DecoderConfig, Decoding, Memory, generate
from likewise.errors import ConfigError

FAMILIES = [
    ("transformer", True),
    ("lstm", True),
    ("gru", True),
    ("rnn", True),
    ("lstm", False),
    ("gru", False),
    ("rnn", False),
]
BEGIN, END, V, E, L = 1, 2, 11, 24, 9


def small_decoder(architecture: str, attention: bool, **sizes: object) -> Decoder:
    torch.manual_seed(0)
    heads = 2 if architecture == "transformer" else None
    config = DecoderConfig(architecture=architecture, width=32, heads=heads, attention=attention, dropout=0.0)
    decoder = Decoder.build(config, memory_dim=E, vocabulary_size=V, max_tokens=L, **sizes).double().eval()
    with torch.no_grad():
        for weight in decoder.parameters():
            weight.mul_(3)  # sharp enough that beams differ
    return decoder


def small_memory(decoder: Decoder, count: int = 4) -> Memory:
    torch.manual_seed(1)
    mask = torch.ones(count, 5, dtype=torch.bool)
    mask[1, 2:] = False
    return Memory(torch.randn(count, 5, E).double(), torch.randn(count, E).double(), mask)


def rows_of(memory: Memory, rows: slice) -> Memory:
    return Memory(*(None if part is None else part[rows] for part in memory))


@torch.no_grad()
def log_prob(decoder: Decoder, memory: Memory, tokens: list[int]) -> float:
    """Of a caption by teacher forcing over the whole prefix."""
    given = torch.tensor([[BEGIN, *tokens[:-1]]])
    logits = decoder.logits(decoder(given, memory).states)
    logits[..., BEGIN] = float("-inf")
    return float(logits.log_softmax(-1)[0].gather(1, torch.tensor(tokens)[:, None]).sum())


@pytest.mark.parametrize(("architecture", "attention"), FAMILIES)
def test_steps_equal_the_whole_prefix(architecture: str, attention: bool) -> None:
    decoder = small_decoder(architecture, attention)
    memory, tokens = small_memory(decoder), torch.randint(0, V, (4, L - 1))
    whole = decoder.logits(decoder(tokens, memory).states)
    for beams in (1, 3):
        state = decoder.start(memory, num_beams=beams)
        rows = tokens.repeat_interleave(beams, dim=0)
        steps = torch.stack([decoder.step(rows[:, t], state) for t in range(L - 1)], dim=1)
        torch.testing.assert_close(steps, whole.repeat_interleave(beams, dim=0), atol=1e-11, rtol=0)


@pytest.mark.parametrize(("architecture", "attention"), FAMILIES)
def test_the_future_is_not_seen(architecture: str, attention: bool) -> None:
    decoder = small_decoder(architecture, attention)
    memory, tokens = small_memory(decoder), torch.randint(0, V, (4, L - 1))
    changed = tokens.clone()
    changed[:, 4:] = (changed[:, 4:] + 1) % V
    before, after = decoder(tokens, memory).states, decoder(changed, memory).states
    torch.testing.assert_close(before[:, :4], after[:, :4])
    assert (before[:, 4:] - after[:, 4:]).abs().max() > 1e-3


@pytest.mark.parametrize(("architecture", "attention"), FAMILIES)
@pytest.mark.parametrize(
    "decoding",
    [
        Decoding(),
        Decoding(num_beams=4, num_captions=3),
        Decoding(num_beams=3, num_captions=2, length_penalty=0.0, no_repeat_ngram=1),
        Decoding(sample=True, num_captions=3, temperature=1.5, top_p=0.9, seed=3),
    ],
    ids=["greedy", "beams", "no repeats", "sampling"],
)
def test_captions_do_not_depend_on_the_batch(architecture: str, attention: bool, decoding: Decoding) -> None:
    decoder = small_decoder(architecture, attention)
    memory = small_memory(decoder)
    found = generate(decoder, memory, begin_id=BEGIN, end_id=END, decoding=decoding)
    for row in range(4):
        one = slice(row, row + 1)
        alone = generate(
            decoder,
            rows_of(memory, one),
            begin_id=BEGIN,
            end_id=END,
            decoding=decoding,
            index=torch.tensor([row]),
        )
        length = int(found.lengths[row].max())
        assert torch.equal(alone.tokens[0, :, :length], found.tokens[row, :, :length])
        for place in range(decoding.num_captions):
            tokens = found.tokens[row, place, : found.lengths[row, place]].tolist()
            if decoding.no_repeat_ngram == 0:
                expected = log_prob(decoder, rows_of(memory, one), tokens)
                assert float(found.log_probs[row, place]) == pytest.approx(expected, abs=1e-9)
            else:
                assert len(set(tokens)) == len(tokens)


@pytest.mark.parametrize(("architecture", "attention"), FAMILIES)
@pytest.mark.parametrize("length_penalty", [0.0, 0.7, 1.0])
def test_wide_beams_find_the_best_caption(architecture: str, attention: bool, length_penalty: float) -> None:
    decoder = small_decoder(architecture, attention)
    memory = rows_of(small_memory(decoder), slice(0, 1))
    decoding = Decoding(num_beams=200, max_tokens=3, length_penalty=length_penalty)
    found = generate(decoder, memory, begin_id=BEGIN, end_id=END, decoding=decoding)
    words = [word for word in range(V) if word not in (BEGIN, END)]
    every = [[*body, END] for length in range(3) for body in itertools.product(words, repeat=length)]
    every += [list(body) for body in itertools.product(words, repeat=3)]  # cut at the limit
    best = max(every, key=lambda tokens: log_prob(decoder, memory, tokens) / len(tokens) ** length_penalty)
    assert found.tokens[0, 0, : found.lengths[0, 0]].tolist() == best


@pytest.mark.parametrize("num_beams", [1, 3])
def test_a_caption_comes_out_when_none_ends(num_beams: int) -> None:
    decoder = small_decoder("transformer", True)
    with torch.no_grad():
        decoder.output_bias[END] = -1e4
    memory = small_memory(decoder)
    found = generate(decoder, memory, begin_id=BEGIN, end_id=END, decoding=Decoding(num_beams=num_beams))
    assert not found.ended.any()
    assert (found.lengths == L - 1).all()
    assert (found.tokens != END).all()


def test_greedy_takes_the_most_likely_token() -> None:
    decoder = small_decoder("gru", True)
    memory = small_memory(decoder)
    found = generate(decoder, memory, begin_id=BEGIN, end_id=END, decoding=Decoding())
    given = torch.cat([torch.full((4, 1), BEGIN), found.tokens[:, 0, :-1]], dim=1)
    logits = decoder.logits(decoder(given, memory).states)
    logits[..., BEGIN] = float("-inf")
    for row in range(4):
        length = int(found.lengths[row, 0])
        assert torch.equal(logits[row, :length].argmax(-1), found.tokens[row, 0, :length])


def test_sampling_follows_the_distribution() -> None:
    decoder = small_decoder("rnn", False)
    memory = Memory(*(part[:1] for part in small_memory(decoder)[:2]))
    count = 4000
    decoding = Decoding(sample=True, num_captions=count, max_tokens=1, seed=5)
    found = generate(decoder, memory, begin_id=BEGIN, end_id=END, decoding=decoding)
    logits = decoder.logits(decoder(torch.tensor([[BEGIN]]), memory).states)[0, 0]
    logits[BEGIN] = float("-inf")
    shares = torch.bincount(found.tokens.flatten(), minlength=V) / count
    assert (shares - logits.softmax(-1)).abs().max() < 0.03
    again = generate(decoder, memory, begin_id=BEGIN, end_id=END, decoding=decoding)
    assert torch.equal(found.tokens, again.tokens)
    narrow = Decoding(sample=True, num_captions=50, max_tokens=1, top_p=1e-6)
    only = generate(decoder, memory, begin_id=BEGIN, end_id=END, decoding=narrow).tokens
    assert (only == logits.argmax()).all()


def test_attention_shows_real_tokens_only() -> None:
    for architecture in ("transformer", "lstm"):
        decoder = small_decoder(architecture, True)
        memory, tokens = small_memory(decoder), torch.randint(0, V, (4, 6))
        output = decoder(tokens, memory, with_attention=True)
        assert output.attention is not None
        assert output.attention.shape == (4, 6, 5)
        torch.testing.assert_close(output.attention.sum(-1), torch.ones(4, 6).double())
        assert (output.attention[1, :, 2:] == 0).all()
        torch.testing.assert_close(output.states, decoder(tokens, memory).states)


def test_lstm_cell_is_that_of_torch() -> None:
    """With a memory of zeros the attending cells are torch's own."""
    for architecture, kind in (
        ("lstm", torch.nn.LSTMCell),
        ("gru", torch.nn.GRUCell),
        ("rnn", torch.nn.RNNCell),
    ):
        decoder = small_decoder(architecture, True)
        cell = kind(32, 32).double()
        cell.load_state_dict(
            {
                "weight_ih": decoder.token_gates.weight,
                "bias_ih": decoder.token_gates.bias,
                "weight_hh": decoder.hidden_gates.weight,
                "bias_hh": decoder.hidden_gates.bias,
            }
        )
        given, hidden = torch.randn(3, 32).double(), torch.randn(3, 32).double()
        rows = {"hidden": hidden} | ({"cell": torch.randn(3, 32).double()} if architecture == "lstm" else {})
        found = decoder._cell(decoder.token_gates(given), torch.zeros(3, E).double(), rows)
        expected = cell(given, tuple(rows.values()) if architecture == "lstm" else hidden)
        expected = expected if isinstance(expected, tuple) else (expected,)
        for one, other in zip(found.values(), expected, strict=True):
            torch.testing.assert_close(one, other)


@pytest.mark.parametrize(("architecture", "attention"), FAMILIES)
def test_spec_builds_the_same_decoder(architecture: str, attention: bool) -> None:
    decoder = small_decoder(architecture, attention)
    again = Decoder.from_spec(decoder.spec()).double().eval()
    again.load_state_dict(decoder.state_dict())
    memory, tokens = small_memory(decoder), torch.randint(0, V, (4, 6))
    assert torch.equal(decoder(tokens, memory).states, again(tokens, memory).states)


def test_every_weight_has_a_gradient() -> None:
    for architecture, attention in FAMILIES:
        decoder = small_decoder(architecture, attention).train()
        memory, tokens = small_memory(decoder), torch.randint(0, V, (4, 6))
        logits = decoder.logits(decoder(tokens[:, :-1], memory).states)
        F.cross_entropy(logits.flatten(0, 1), tokens[:, 1:].flatten()).backward()
        missing = [name for name, weight in decoder.named_parameters() if weight.grad is None]
        assert missing == [], architecture


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"num_captions": 2}, "--num-captions 2 needs --num-beams 2"),
        ({"sample": True, "num_beams": 2}, "one of the two"),
        ({"top_p": 0.0}, "--top-p in"),
        ({"max_tokens": 0}, "--max-tokens is 0"),
    ],
)
def test_options_that_cannot_work(options: dict, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Decoding(**options)


@pytest.mark.parametrize("architecture", ["transformer", "lstm", "gru"])
@torch.no_grad()
def test_a_new_decoder_does_not_repeat_the_token_before(architecture: str) -> None:
    """Equation 7 of Xu 2015 with tied weights has each token predict itself: .99 of all at the start."""
    torch.manual_seed(0)
    config = DecoderConfig(architecture=architecture, width=64, dropout=0.0)
    decoder = Decoder.build(config, memory_dim=E, vocabulary_size=500, max_tokens=32).eval()
    tokens, memory = torch.randint(0, 500, (16, 12)), Memory(torch.randn(16, 5, E), torch.randn(16, E))
    likeliest = decoder.logits(decoder(tokens, memory).states).argmax(dim=-1)
    assert float((likeliest == tokens).double().mean()) < 0.25


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"num_beams": 0}, "--num-beams is 0"),
        ({"num_beams": 2, "sample": True}, "--sample draws captions"),
        ({"num_captions": 2}, "--num-captions 2 needs"),
        ({"num_beams": 2, "length_penalty": -1.0}, "--length-penalty is -1.0"),
        ({"num_beams": 2, "length_penalty": float("inf")}, "--length-penalty is inf"),
        ({"sample": True, "temperature": 0.0}, "--temperature must be above 0"),
    ],
)
def test_impossible_decodings_are_refused(options: dict[str, float], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        Decoding(**options)
