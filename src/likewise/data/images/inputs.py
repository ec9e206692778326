"""Images in any form a caller may have, to the squares that a network takes."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from likewise.data.images.decode import decode_square, decode_upright, to_square, upright_rgb
from likewise.errors import DataError, RecordError

__all__ = ["image_sizes", "square_images", "upright_image"]


def square_images(
    images: Sequence[Any], *, size: int, fit: str, first: int = 0, such_as: str = "image"
) -> Tensor:
    """Decode images, turn them upright and make them square; one that is given several times once.

    Args:
        images: paths, encoded bytes, PIL images, uint8 arrays (H, W, 3) or (H, W), uint8 tensors (3, H, W).
        size: S, the square's side in pixels.
        fit: crop, pad or squash.
        first: number of the first image, for messages.
        such_as: what they are, for messages.

    Returns:
        (B, 3, S, S) uint8.

    Raises:
        DataError: an image cannot be read; the message says which and why.
    """
    images = list(images)  # of an array each row would be a new object
    squares = np.empty((len(images), 3, size, size), np.uint8)
    places: dict[int, int] = {}
    for place, image in enumerate(images):
        if (earlier := places.setdefault(id(image), place)) < place:
            squares[place] = squares[earlier]
            continue
        try:
            squares[place] = _square(image, size, fit)
        except RecordError as error:
            name = image if isinstance(image, (str, os.PathLike)) else f"{such_as} {first + place}"
            raise DataError(f"{name}: {error}") from error
    return torch.from_numpy(squares)


def image_sizes(images: Sequence[Any]) -> list[tuple[int, int]]:
    """Width and height of images that `square_images` has read, upright."""
    images = list(images)
    sizes = {number: upright_image(image).size for number, image in {id(one): one for one in images}.items()}
    return [sizes[id(image)] for image in images]


def upright_image(image: Any) -> Image.Image:
    """An image in any form that `square_images` takes, as a whole: upright and RGB.

    Raises:
        RecordError: it cannot be read.
    """
    if isinstance(image, (str, os.PathLike)):
        image = _read(image)
    if isinstance(image, (bytes, bytearray, memoryview)):
        return decode_upright(bytes(image))
    return upright_rgb(image if isinstance(image, Image.Image) else Image.fromarray(_as_array(image)))


def _square(image: Any, size: int, fit: str) -> np.ndarray:
    if isinstance(image, (str, os.PathLike)):
        return decode_square(_read(image), size=size, fit=fit)[0]
    if isinstance(image, (bytes, bytearray, memoryview)):
        return decode_square(bytes(image), size=size, fit=fit)[0]
    if not isinstance(image, Image.Image):
        image = Image.fromarray(_as_array(image))
    square: np.ndarray = np.asarray(to_square(upright_rgb(image), size, fit)).transpose(2, 0, 1)
    return square


def _read(path: str | os.PathLike[str]) -> bytes:
    if "://" in str(path):
        raise RecordError(
            "is an address; images are not fetched from the network. Download it and pass the file."
        )
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise RecordError(f"cannot be read ({error.strerror or error})") from error
    except ValueError as error:  # a zero byte, or half a character
        raise RecordError(f"is no path that a file can have ({error})") from error


def _as_array(image: Any) -> np.ndarray:
    if isinstance(image, Tensor):
        if image.dtype != torch.uint8:  # numpy knows fewer kinds of numbers
            raise RecordError(f"has dtype {image.dtype}; expected uint8 values from 0 to 255")
        image = image.detach().cpu()
        image = (image.permute(1, 2, 0) if image.ndim == 3 else image).numpy()
    if not isinstance(image, np.ndarray):
        raise RecordError(
            f"is a {type(image).__name__}; expected a path, bytes, a PIL image or a uint8 array"
        )
    if image.dtype != np.uint8:
        raise RecordError(f"has dtype {image.dtype}; expected uint8 values from 0 to 255")
    if image.ndim == 3 and image.shape[2] == 1:
        image = image[:, :, 0]
    if image.ndim == 2 or (image.ndim == 3 and image.shape[2] == 3):
        return np.ascontiguousarray(image)
    raise RecordError(f"has shape {image.shape}; expected (H, W, 3) or (H, W), or a tensor (3, H, W)")
