"""Captions of images by a model whose network can write them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor

from likewise.encoders.decoders import Candidates, Decoding
from likewise.model.inputs import ImageInput, dataset_batches
from likewise.model.runtime import Runtime

if TYPE_CHECKING:
    from likewise.data.dataset import Dataset

__all__ = ["Caption", "Captions", "write_captions"]


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


class Captions(Runtime):
    """The ability to caption; see `Runtime` for the arguments."""

    def caption(
        self, images: ImageInput | Sequence[ImageInput], *, batch_size: int = 64, **decoding: Any
    ) -> list[str]:
        """The best caption of each image.

        Args:
            images: N, in any form that `encode_images` takes.
            batch_size: images generated for at a time.
            decoding: options of `likewise.encoders.decoders.Decoding`, such as `num_beams=5`, `sample=True`.

        Raises:
            AbilityError: the model cannot caption.
            ConfigError: options of decoding that contradict one another.
            DataError: an image cannot be read.
        """
        found = self.caption_candidates(images, batch_size=batch_size, **decoding)
        return [candidates[0].text for candidates in found]

    def caption_candidates(
        self, images: ImageInput | Sequence[ImageInput], *, batch_size: int = 64, **decoding: Any
    ) -> list[list[Caption]]:
        """For each image `num_captions` captions with their log-probabilities, best first; see `caption`."""
        self.needs("caption")  # before any image is read
        return write_captions(self, self.stored_batches(images, batch_size), Decoding(**decoding))

    def caption_stored(self, stored: Tensor, decoding: Decoding, *, first: int = 0) -> list[list[Caption]]:
        """Captions of (B, 3, S, S) uint8 squares; `first` is the number of the first, which keys draws."""
        return write_captions(self, [stored], decoding, first=first)

    def caption_dataset(
        self, dataset: Dataset, decoding: Decoding, *, batch_size: int = 64
    ) -> list[list[Caption]]:
        """Captions of all images of a dataset, read from its cache."""
        return write_captions(self, dataset_batches(dataset, batch_size), decoding)
