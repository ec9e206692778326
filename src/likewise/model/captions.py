"""Captions of images by a model whose network can write them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import torch
from torch import Tensor

from likewise.encoders.decoders import Candidates, Decoding
from likewise.model.runtime import Runtime

__all__ = ["Caption", "write_captions"]


class Caption(NamedTuple):
    """One generated caption.

    Attributes:
        text: without special tokens.
        log_prob: log-probability in nats, of all its tokens.
        ended: False where the caption was cut at the longest length.
    """

    text: str
    log_prob: float
    ended: bool


def write_captions(
    model: Runtime, batches: Iterable[Tensor], decoding: Decoding, *, first: int = 0
) -> list[list[Caption]]:
    """Captions of images, best first.

    Args:
        model: its network can caption.
        batches: stored squares, (B, 3, S, S) uint8 each.
        decoding: how captions are generated.
        first: number of the first image; draws are keyed by an image's number.

    Returns:
        For each image `decoding.num_captions` captions.

    Raises:
        AbilityError: the model cannot caption.
    """
    network = model.needs("caption")
    assert model.tokenizer is not None
    begin_id, end_id = model.tokenizer.end_ids
    captions: list[list[Caption]] = []
    for stored in batches:
        index = torch.arange(len(stored)) + first + len(captions)
        with model.computing():
            found = network.caption(
                model.pixels(stored), begin_id=begin_id, end_id=end_id, decoding=decoding, index=index
            )
        captions += _texts(model, found)
    return captions


def _texts(model: Runtime, found: Candidates) -> list[list[Caption]]:
    assert model.tokenizer is not None
    tokens, lengths, log_probs, ended = (part.tolist() for part in found)
    return [
        [
            Caption(
                model.tokenizer.decode(tokens[row][k][: lengths[row][k]]), log_probs[row][k], ended[row][k]
            )
            for k in range(len(tokens[row]))
        ]
        for row in range(len(tokens))
    ]
