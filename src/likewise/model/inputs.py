"""What callers may pass as images and texts, and how many of them run at a time."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, Union, cast

import numpy as np
from torch import Tensor

from likewise.data.dataset import Dataset
from likewise.errors import ConfigError, DataError

if TYPE_CHECKING:
    from PIL.Image import Image

__all__ = [
    "ImageInput",
    "Images",
    "Texts",
    "aligned",
    "batches",
    "checked_count",
    "checked_texts",
    "dataset_batches",
    "several_images",
]

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
    if not isinstance(texts, Iterable):
        raise DataError(f"texts are {texts!r}; expected a text or several.")
    several = [texts] if isinstance(texts, str) else list(texts)
    for place, text in enumerate(several):
        if not isinstance(text, str) or not text.strip():
            raise DataError(f"text {place} is {text!r}; expected a text that is not empty.")
    return several


def checked_count(name: str, value: Any) -> None:
    """Reject what is no whole number above 0.

    Raises:
        ConfigError: names the argument.
    """
    if not isinstance(value, (int, np.integer)) or value < 1:
        raise ConfigError(f"{name} is {value!r}; expected a whole number of at least 1.")


def several_images(images: Images) -> list[ImageInput]:
    """One or several images as a list."""
    if isinstance(images, (np.ndarray, Tensor)):
        is_single = images.ndim <= 3
    elif isinstance(images, (str, bytes, bytearray, memoryview, os.PathLike)):
        is_single = True
    else:
        is_single = not isinstance(images, Sequence)
    return cast("list[ImageInput]", [images] if is_single else list(cast(Any, images)))


def aligned(**given: Sequence[Any]) -> list[list[Any]]:
    """Lists of one length: lists of a single thing are repeated.

    Args:
        given: by what they hold, such as `images` and `statements`.

    Raises:
        DataError: their lengths differ.
    """
    length = max((len(things) for things in given.values() if len(things) != 1), default=1)
    if any(len(things) not in (1, length) for things in given.values()):
        counted = " and ".join(f"{len(things):,} {name.replace('_', ' ')}" for name, things in given.items())
        raise DataError(f"{counted} do not go together; give as many of each, or one for all.")
    return [list(things) * length if len(things) == 1 else list(things) for things in given.values()]
