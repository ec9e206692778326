"""Attention maps of words over images, for pairs that the model found right and wrong."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from likewise.model.explanations.explanation import Explanation
from likewise.reporting.examples.galleries import image_uri
from likewise.reporting.inputs import ExplainedPair, ReportInputs

__all__ = ["MapRow", "find_attention_maps", "word_overlays"]

_MAX_WORDS = 16


@dataclass(frozen=True)
class MapRow:
    """One pair: its image, and the maps of its text and words as data URIs."""

    caption: str
    right: bool
    probability: float
    image: str
    whole: str
    words: list[tuple[str, str]]
    num_hidden: int
    """Words that are not shown."""


def find_attention_maps(inputs: ReportInputs) -> list[MapRow]:
    """A row for each explained pair, the right ones first.

    Raises:
        ValueError: there are none.
    """
    if not inputs.explanations:
        raise ValueError("It needs a model whose fusion encoder has two or more layers.")
    return [_row(pair) for pair in sorted(inputs.explanations, key=lambda pair: not pair.right)]


def _row(pair: ExplainedPair) -> MapRow:
    found, words = pair.explanation, pair.explanation.word_maps()
    assert found.probability is not None  # of a match
    return MapRow(
        caption=pair.caption,
        right=pair.right,
        probability=found.probability,
        image=image_uri(pair.image),
        whole=_drawn_uri(pair.image, found, found.whole),
        words=word_overlays(pair.image, found),
        num_hidden=max(0, len(words) - _MAX_WORDS),
    )


def word_overlays(image: NDArray[np.uint8], found: Explanation) -> list[tuple[str, str]]:
    """The first 16 words, each with its map over the image as a data URI; image: (3, S, S)."""
    return [(word, _drawn_uri(image, found, heat)) for word, heat in found.word_maps()[:_MAX_WORDS]]


def _drawn_uri(image: NDArray[np.uint8], found: Explanation, heat: NDArray[np.float32]) -> str:
    return image_uri(np.moveaxis(np.asarray(found.drawn(image, heat)), -1, 0))
