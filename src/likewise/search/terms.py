"""Queries: texts and images with weights, added up to one vector."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from likewise.data.sources.image_folder import is_sound
from likewise.errors import DataError
from likewise.search.embedder import Embedder

__all__ = ["Term", "combined", "query_vector"]

_LEAST_LENGTH = 1e-3


@dataclass(frozen=True, kw_only=True)
class Term:
    """A part of a query: a text, or an image or a sound.

    Attributes:
        text: such as "a dog on a beach".
        image: in any form that `Model.encode_images` takes; or a sound, as `Model.encode_audio` takes it, for
            a model of sounds alone, and as a file whose name says so for a model of both.
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

    @property
    def kind(self) -> str:
        """What it is: "text", "image", or "audio" for a file whose name says so."""
        if self.text is not None:
            return "text"
        is_heard = isinstance(self.image, (str, os.PathLike)) and is_sound(os.fspath(self.image))
        return "audio" if is_heard else "image"


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
    vectors = [np.asarray(_encoded(model, term))[0] for term in terms]
    return combined(vectors, [term.weight for term in terms])


def _encoded(model: Embedder, term: Term) -> Any:
    """(1, D)."""
    if term.text is not None:
        return model.encode_texts([term.text])
    if "encode_audio" in model.abilities and (term.kind == "audio" or "encode_images" not in model.abilities):
        return model.encode_audio([term.image])
    return model.encode_images([term.image])


def combined(vectors: Sequence[NDArray[np.floating]], weights: Sequence[float]) -> NDArray[np.float32]:
    """The weighted sum of unit vectors (D,), at unit length (D,). Raises DataError where they cancel out."""
    total = np.asarray(weights, np.float64) @ np.asarray(vectors, np.float64)
    length = np.linalg.norm(total)
    if not length > _LEAST_LENGTH * sum(map(abs, weights)):
        raise DataError("the terms of the query cancel out; give them other weights.")
    return np.asarray(total / length, np.float32)
