"""Compares a model with what was exported of it: the same images and texts through both."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from likewise.encoders.pretrained import quiet_loading
from likewise.errors import ModelError
from likewise.export.probes import Probes
from likewise.export.registry import Written
from likewise.messages import first_line
from likewise.model.model import Model
from likewise.model.runtime import joined_vectors

__all__ = ["MOST_APART", "differences"]

MOST_APART = 1e-4
"""Largest difference of a coordinate of two unit vectors that counts as the same: float32 rounding through a
deep network stays below it."""


def differences(model: Model, folder: Path, written: Written, probes: Probes) -> dict[str, float]:
    """The largest difference of a coordinate, over `images` and over `texts`, as far as the folder has them.

    Raises:
        ModelError: one is above `MOST_APART`, or the folder cannot be read.
    """
    apart: dict[str, float] = {}
    try:
        with quiet_loading(), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of the other library
            reads = _functions(written, folder)
            if probes.images is not None and "encode_images" in reads:
                images = [Image.fromarray(image) for image in probes.images]
                theirs = _in_two_batches(reads["encode_images"], images)
                apart["images"] = _apart(_image_vectors(model, probes.images), theirs)
            if probes.texts is not None and "encode_texts" in reads:
                theirs = _in_two_batches(reads["encode_texts"], probes.texts)
                apart["texts"] = _apart(model.encode_texts(probes.texts), theirs)
    except Exception as error:  # of many kinds, from other libraries
        raise ModelError(f"what was exported cannot be read back: {first_line(error)}") from error
    for what, value in apart.items():
        if not value <= MOST_APART:  # also NaN
            raise ModelError(
                f"the exported model is not this model: its vectors of {what} differ by {value:.1e}, more "
                f"than {MOST_APART:.0e}. Nothing was written."
            )
    return apart


def _functions(written: Written, folder: Path) -> dict[str, Any]:
    """`encode_images` and `encode_texts` of the code that the model card shows: what is checked is what
    users run."""
    names: dict[str, Any] = {}
    exec((written.reading or written.usage).text(str(folder)), names)
    return names


def _in_two_batches(encode: Callable[[list[Any]], Any], items: list[Any]) -> np.ndarray:
    """One alone, and the rest together: sizes of batches must not matter."""
    return np.concatenate([np.asarray(encode(part)) for part in (items[:1], items[1:]) if part])


def _image_vectors(model: Model, images: np.ndarray) -> np.ndarray:
    """Of (N, S, S, 3) uint8 images of the model's own size, which `encode_images` would first enlarge to
    that of the training's stored images."""
    stored = torch.from_numpy(np.ascontiguousarray(images.transpose(0, 3, 1, 2)))
    with model.computing():
        vectors = model.needs("encode_images").encode_images(model.pixels(stored))
    return joined_vectors([vectors], dim=model.dim)


def _apart(ours: np.ndarray, theirs: np.ndarray) -> float:
    if ours.shape != theirs.shape:
        raise ValueError(f"vectors of shape {theirs.shape}, expected {ours.shape}")
    return float(np.abs(ours - theirs).max())
