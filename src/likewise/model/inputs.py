"""What callers may pass as images and texts, and how many of them run at a time."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, Union, cast

import numpy as np
from torch import Tensor

from likewise.data.dataset import Dataset
from likewise.errors import DataError

if TYPE_CHECKING:
    from PIL.Image import Image

__all__ = ["ImageInput", "Images", "Texts", "batches", "checked_texts", "dataset_batches", "several_images"]

ImageInput = Union[str, "os.PathLike[str]", bytes, "Image", "np.ndarray[Any, Any]", Tensor]
Images = ImageInput | Sequence[ImageInput]
Texts = str | Sequence[str]


def dataset_batches(dataset: Dataset, batch_size: int, column: str = "image") -> Iterator[Tensor]:
    """Stored images of a dataset, or the sounds of the column "audio"."""
    places = np.arange(len(dataset))
    return (dataset.images(places[rows], column) for rows in batches(len(dataset), batch_size))


def batches(count: int, batch_size: int) -> Iterator[slice]:
    """The rows of each batch."""
    if batch_size < 1:
        raise ValueError(f"batch_size must be at least 1, got {batch_size}")
    yield from (slice(start, start + batch_size) for start in range(0, count, batch_size))


def checked_texts(texts: Texts) -> list[str]:
    """Several texts, none of them empty."""
    several = [texts] if isinstance(texts, str) else list(texts)
    for place, text in enumerate(several):
        if not isinstance(text, str) or not text.strip():
            raise DataError(f"text {place} is {text!r}; expected a text that is not empty.")
    return several


def several_images(images: Images) -> list[ImageInput]:
    """One or several images as a list."""
    if isinstance(images, (np.ndarray, Tensor)):
        is_single = images.ndim <= 3
    elif isinstance(images, (str, bytes, bytearray, memoryview, os.PathLike)):
        is_single = True
    else:
        is_single = not isinstance(images, Sequence)
    return cast("list[ImageInput]", [images] if is_single else list(cast(Any, images)))
