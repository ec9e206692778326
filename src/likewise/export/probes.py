"""Images and texts for comparing a model with what was exported of it.

Dimensions: N probes, S side in pixels.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from likewise.data.dataset import Dataset
from likewise.data.images.inputs import square_images
from likewise.errors import DataError
from likewise.model.model import Model

__all__ = ["NUM_PROBES", "Probes", "dataset_probes", "generated_probes"]

NUM_PROBES = 20
"""As many images, and as many texts."""

_SEED = 20


class Probes(NamedTuple):
    """Images and texts.

    Attributes:
        images: (N, S, S, 3) uint8, of the model's image size; None for a model without images.
        texts: N texts; None for a model without texts.
    """

    images: np.ndarray | None
    texts: list[str] | None


def generated_probes(model: Model) -> Probes:
    """Images of coarse to fine noise, and texts of random tokens, some longer than the model reads."""
    random = np.random.default_rng(_SEED)
    images = texts = None
    if "encode_images" in model.abilities:
        size = model.image_encoder.image_size
        noise = [random.integers(0, 256, (side, side, 3), np.uint8) for side in _sides(size)]
        images = _squares(noise, size)
    if "encode_texts" in model.abilities:
        assert model.tokenizer is not None
        longest = 2 * model.tokenizer.max_tokens
        lengths = np.linspace(1, longest, NUM_PROBES).astype(int)
        rows = (random.integers(0, model.tokenizer.size, length).tolist() for length in lengths)
        texts = [model.tokenizer.decode(row) or "a text" for row in rows]
    return Probes(images, texts)


def dataset_probes(model: Model, dataset: Dataset) -> Probes:
    """The first images and texts of a dataset that was opened for the model.

    Raises:
        DataError: it has none that the model reads.
    """
    rows = np.arange(min(NUM_PROBES, len(dataset)))
    images = texts = None
    if "encode_images" in model.abilities and dataset.has("image"):
        stored = dataset.images(rows)
        images = _squares(list(stored.numpy().transpose(0, 2, 3, 1)), model.image_encoder.image_size)
    if "encode_texts" in model.abilities and dataset.texts is not None:
        texts = [row[0] for row in dataset.texts if row][:NUM_PROBES]
    if images is None and texts is None:
        raise DataError("the source has neither images nor texts that this model reads.")
    return Probes(images, texts)


def _sides(size: int) -> list[int]:
    """Sides of noise from a few cells up to one a pixel."""
    return [int(side) for side in np.linspace(2, size, NUM_PROBES)]


def _squares(images: list[np.ndarray], size: int) -> np.ndarray:
    squares: np.ndarray = square_images(images, size=size, fit="squash").numpy().transpose(0, 2, 3, 1)
    return np.ascontiguousarray(squares)
