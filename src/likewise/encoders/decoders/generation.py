"""Generation: greedy, sampling and beam search over any decoder, batched over images and beams.

A step costs one token: the decoder keeps keys and values, or its recurrent state. An image's captions do
not depend on the other images of the batch.

Dimensions: B images, K beams or captions an image, R = B K rows, L tokens generated, V vocabulary.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from likewise.encoders.decoders.base import Decoder, Memory, as_beams
from likewise.errors import ConfigError
from likewise.step_random import StepRandom

__all__ = ["Candidates", "Decoding", "generate"]


@dataclass(frozen=True, kw_only=True)
class Decoding:
    """How sentences are generated."""

    num_beams: int = 1
    """Beams of beam search; 1 takes the most likely token at every step (greedy)."""

    num_captions: int = 1
    """Captions returned for each image, best first; at most the number of beams, any number when sampling."""

    max_tokens: int | None = None
    """Most tokens generated; the decoder's own limit by default."""

    length_penalty: float = 1.0
    """Beam search divides log-probabilities by length to this power, at least 0; 0 leaves them alone."""

    sample: bool = False
    """Draw tokens at random instead of searching."""

    temperature: float = 1.0
    """Sampling: divides the logits; below 1 is safer, above 1 bolder."""

    top_p: float = 1.0
    """Sampling: draw among the most likely tokens that together have this probability (Holtzman 2019,
    arXiv 1904.09751)."""

    seed: int = 0
    """Sampling: seed of the draws; an image's captions depend on the seed and its place alone."""

    no_repeat_ngram: int = 0
    """No sequence of this many tokens comes twice in a caption; 0 allows all."""

    def __post_init__(self) -> None:
        """Check the values."""
        for name in ("num_beams", "num_captions", "max_tokens"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ConfigError(f"--{name.replace('_', '-')} is {value}; expected at least 1.")
        if self.sample and self.num_beams > 1:
            raise ConfigError(
                "--sample draws captions and --num-beams searches for them; give one of the two."
            )
        if not self.sample and self.num_captions > self.num_beams:
            raise ConfigError(
                f"--num-captions {self.num_captions} needs --num-beams {self.num_captions} or more, or "
                "--sample."
            )
        if not 0 <= self.length_penalty < float("inf"):
            raise ConfigError(f"--length-penalty is {self.length_penalty}; expected a number of 0 or more.")
        if not self.temperature > 0 or not 0 < self.top_p <= 1 or self.no_repeat_ngram < 0:
            raise ConfigError(
                f"--temperature must be above 0, --top-p in (0, 1] and --no-repeat-ngram 0 or more; got "
                f"{self.temperature}, {self.top_p} and {self.no_repeat_ngram}."
            )


class Candidates(NamedTuple):
    """Generated captions.

    Attributes:
        tokens: (B, K, L) int64 without the begin token; after a caption's end token, the end token again.
        lengths: (B, K) int64, tokens with the end token where it came.
        log_probs: (B, K) float, the captions' log-probabilities in nats, before temperature and top-p.
        ended: (B, K) bool, whether the end token came before the limit.
    """

    tokens: Tensor
    lengths: Tensor
    log_probs: Tensor
    ended: Tensor


@torch.no_grad()
def generate(
    decoder: Decoder,
    memory: Memory,
    *,
    begin_id: int,
    end_id: int,
    decoding: Decoding,
    index: Tensor | None = None,
) -> Candidates:
    """Captions of a batch of images, best first.

    Args:
        decoder: in evaluation mode.
        memory: of B images.
        begin_id: the token that begins a sentence.
        end_id: the token that ends it.
        decoding: how.
        index: (B,) int64, the images' places in their data set, which key the draws; 0 .. B-1 by default.
    """
    most = min(decoding.max_tokens or decoder.max_tokens, decoder.max_tokens - 1)
    if decoding.num_beams > 1:
        return _beam_search(decoder, memory, begin_id, end_id, decoding, most)
    return _one_by_one(decoder, memory, begin_id, end_id, decoding, most, index)


def _one_by_one(
    decoder: Decoder,
    memory: Memory,
    begin_id: int,
    end_id: int,
    decoding: Decoding,
    most: int,
    index: Tensor | None,
) -> Candidates:
    """Greedy, or sampling K captions an image."""
    B, K, device = len(memory.tokens), decoding.num_captions, memory.tokens.device
    state = decoder.start(memory, num_beams=K)
    token = torch.full((B * K,), begin_id, device=device)
    tokens = torch.full((B * K, most), end_id, device=device)
    log_probs = torch.zeros(B * K, dtype=torch.float64, device=device)
    lengths = torch.zeros(B * K, dtype=torch.int64, device=device)
    ended = torch.zeros(B * K, dtype=torch.bool, device=device)
    keys = torch.arange(B, device=device) if index is None else index.to(device)
    keys = (keys[:, None] + torch.arange(K, device=device) * (1 << 40)).flatten()
    for place in range(most):
        logits = _forbid(decoder.step(token, state), tokens[:, :place], begin_id, decoding.no_repeat_ngram)
        token = _draw(logits, keys, place, decoding) if decoding.sample else logits.argmax(dim=-1)
        token = torch.where(ended, end_id, token)
        chosen = _log_probs(logits).gather(1, token[:, None])[:, 0].double()
        log_probs += torch.where(ended, 0.0, chosen)
        lengths += ~ended
        tokens[:, place] = token
        ended |= token == end_id
        if bool(ended.all()):
            break
    found = Candidates(*(as_beams(part, B) for part in (tokens, lengths, log_probs, ended)))
    if K == 1:
        return found
    order = found.log_probs.argsort(dim=1, descending=True, stable=True)
    return _taken(found, order)


def _draw(logits: Tensor, keys: Tensor, place: int, decoding: Decoding) -> Tensor:
    """(R,) tokens drawn from the most likely ones that together have `top_p`."""
    ordered, tokens = (logits.double() / decoding.temperature).softmax(dim=-1).sort(dim=-1, descending=True)
    total = ordered.cumsum(dim=-1)
    within = total - ordered < decoding.top_p  # at least the most likely one
    total = (ordered * within).cumsum(dim=-1)
    uniform = StepRandom(decoding.seed, place).uniform(keys, 1, purpose="token").double()
    drawn = (total <= uniform * total[:, -1:]).sum(dim=-1, keepdim=True).clamp(max=logits.shape[1] - 1)
    return tokens.gather(1, drawn)[:, 0]


def _beam_search(
    decoder: Decoder, memory: Memory, begin_id: int, end_id: int, decoding: Decoding, most: int
) -> Candidates:
    """The best captions found by beam search; beams that reach the limit compare with those that ended."""
    B, K, device = len(memory.tokens), decoding.num_beams, memory.tokens.device
    state = decoder.start(memory, num_beams=K)
    rows = torch.arange(B, device=device)[:, None] * K  # (B, 1), each image's first row
    token = torch.full((B * K,), begin_id, device=device)
    tokens = torch.full((B * K, most), end_id, device=device)
    alive = torch.full((B, K), float("-inf"), dtype=torch.float64, device=device)
    alive[:, 0] = 0.0  # all beams are equal at first: only one of them may branch
    best = Candidates(
        tokens=torch.full((B, K, most), end_id, device=device),
        lengths=torch.zeros((B, K), dtype=torch.int64, device=device),
        log_probs=torch.full((B, K), float("-inf"), dtype=torch.float64, device=device),
        ended=torch.ones((B, K), dtype=torch.bool, device=device),
    )
    for place in range(most):
        logits = _forbid(decoder.step(token, state), tokens[:, :place], begin_id, decoding.no_repeat_ngram)
        log_probs = _log_probs(logits)  # (R, V)
        ending = alive + as_beams(log_probs[:, end_id], B)  # (B, K)
        own = as_beams(tokens, B)
        ended = Candidates(own, torch.full_like(best.lengths, place + 1), ending, torch.ones_like(best.ended))
        best = _best_of(best, ended, decoding.length_penalty, K)
        log_probs[:, end_id] = float("-inf")
        # The K best of an image are among the K best of each of its beams.
        likely, candidates = log_probs.topk(min(K, log_probs.shape[1]), dim=1)  # (R, K)
        alive, flat = (alive[..., None] + as_beams(likely, B)).flatten(1).topk(K, dim=1)  # (B, K)
        beams = (rows + flat // likely.shape[1]).flatten()
        token = as_beams(candidates, B).flatten(1).gather(1, flat).flatten()
        state.reorder(beams)
        tokens = tokens.index_select(0, beams)
        tokens[:, place] = token
        # Nothing alive can become better than the worst that ended: the image is done.
        penalty = decoding.length_penalty
        reach = alive[:, 0] / most**penalty
        done = reach <= _normalized(best, penalty)[:, -1]
        alive = alive.masked_fill(done[:, None], float("-inf"))
        if bool(done.all()):
            break
    own = as_beams(tokens, B)
    unended = Candidates(own, torch.full_like(best.lengths, most), alive, torch.zeros_like(best.ended))
    return _best_of(best, unended, decoding.length_penalty, decoding.num_captions)


def _log_probs(logits: Tensor) -> Tensor:
    """(R, V), in float32 or better."""
    wider = torch.promote_types(logits.dtype, torch.float32)
    return logits.log_softmax(dim=-1, dtype=wider)


def _normalized(found: Candidates, length_penalty: float) -> Tensor:
    """(B, K) scores by which captions are compared."""
    return found.log_probs / found.lengths.clamp(min=1).double() ** length_penalty


def _best_of(first: Candidates, second: Candidates, length_penalty: float, count: int) -> Candidates:
    """The `count` best of both for each image; on ties those of the first."""
    found = Candidates(*(torch.cat(parts, dim=1) for parts in zip(first, second, strict=True)))
    order = _normalized(found, length_penalty).argsort(dim=1, descending=True, stable=True)[:, :count]
    return _taken(found, order)


def _taken(found: Candidates, order: Tensor) -> Candidates:
    """The captions at places (B, K) of each image."""
    wide = order[..., None].expand(-1, -1, found.tokens.shape[-1])
    return Candidates(found.tokens.gather(1, wide), *(part.gather(1, order) for part in found[1:]))


def _forbid(logits: Tensor, tokens: Tensor, begin_id: int, ngram: int) -> Tensor:
    """Logits without the begin token, and without tokens that would repeat a sequence of `ngram` tokens.

    Args:
        logits: (R, V), changed in place.
        tokens: (R, t), those generated so far.
        begin_id: never generated.
        ngram: length of the sequences; 0 forbids none.
    """
    logits[:, begin_id] = float("-inf")
    length = tokens.shape[1]
    if ngram == 0 or length < ngram:
        return logits
    windows = tokens.unfold(1, ngram, 1)  # (R, t - ngram + 1, ngram)
    before = tokens[:, length - ngram + 1 :]  # (R, ngram - 1), the newest
    repeats = (windows[..., :-1] == before[:, None]).all(dim=-1)  # (R, t - ngram + 1)
    banned = torch.zeros_like(logits, dtype=torch.bool)
    banned.scatter_reduce_(1, windows[..., -1], repeats, reduce="amax")
    return logits.masked_fill(banned, float("-inf"))
