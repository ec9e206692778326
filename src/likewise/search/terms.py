"""Queries: texts and images with weights, added up to one vector."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from likewise.errors import DataError
from likewise.search.embedder import Embedder

__all__ = ["Term", "combined", "query_vector"]

_LEAST_LENGTH = 1e-3


@dataclass(frozen=True, kw_only=True)
class Term:
    """A part of a query: a text or an image.

    Attributes:
        text: such as "a dog on a beach".
        image: in any form that `Model.encode_images` takes; for a model of sounds a sound, as
            `Model.encode_audio` takes it.
        weight: how much it counts; below zero, what is like it moves down.
    """

    text: str | None = None
    image: Any = None
    weight: float = 1.0

    def __post_init__(self) -> None:
        if (self.text is None) == (self.image is None):
            raise ValueError("a term is a text or an image: give one of them")
        if not np.isfinite(self.weight) or self.weight == 0:
            raise DataError(f"the weight of a term is {self.weight}; expected a number other than 0.")


def query_vector(model: Embedder, terms: Sequence[Term]) -> NDArray[np.float32]:
    """The sum of the terms' unit vectors times their weights, at unit length.

    Args:
        model: embeds the texts and images.
        terms: at least one.

    Returns:
        (D,) float32.

    Raises:
        AbilityError: the model reads no texts, or no images.
        DataError: a text is empty, an image cannot be read, or the terms cancel out.
    """
    if not terms:
        raise DataError("the query is empty; expected a text or an image.")
    encode = model.encode_audio if "encode_audio" in model.abilities else model.encode_images
    vectors = [
        np.asarray(encode([term.image]) if term.text is None else model.encode_texts([term.text]))[0]
        for term in terms
    ]
    return combined(vectors, [term.weight for term in terms])


def combined(vectors: Sequence[NDArray[np.floating]], weights: Sequence[float]) -> NDArray[np.float32]:
    """The weighted sum of unit vectors (D,), at unit length (D,). Raises DataError where they cancel out."""
    total = np.asarray(weights, np.float64) @ np.asarray(vectors, np.float64)
    length = np.linalg.norm(total)
    if not length > _LEAST_LENGTH * sum(map(abs, weights)):
        raise DataError("the terms of the query cancel out; give them other weights.")
    return np.asarray(total / length, np.float32)
