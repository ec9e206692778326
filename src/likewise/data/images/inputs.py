"""Pictures in whatever form a caller has them, to the squares a network is fed from."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from likewise.data.images.decode import decode_square, to_square, upright_rgb
from likewise.errors import DataError, RecordError

__all__ = ["square_pictures"]


def square_pictures(pictures: Sequence[Any], *, size: int, fit: str, first: int = 0) -> Tensor:
    """Decode, turn upright, make square.

    Args:
        pictures: paths, encoded bytes, PIL images, uint8 arrays (H, W, 3) or (H, W), uint8 tensors (3, H, W).
        size: S, the square's side in pixels.
        fit: crop, pad or squash.
        first: the first picture's number, for messages.

    Returns:
        (B, 3, S, S) uint8.

    Raises:
        DataError: a picture cannot be read; the message says which and why.
    """
    squares = np.empty((len(pictures), 3, size, size), np.uint8)
    for place, picture in enumerate(pictures):
        try:
            squares[place] = _square(picture, size, fit)
        except RecordError as error:
            name = picture if isinstance(picture, (str, os.PathLike)) else f"picture {first + place}"
            raise DataError(f"{name}: {error}") from error
    return torch.from_numpy(squares)


def _square(picture: Any, size: int, fit: str) -> np.ndarray:
    if isinstance(picture, (str, os.PathLike)):
        return decode_square(_read(picture), size=size, fit=fit)[0]
    if isinstance(picture, (bytes, bytearray)):
        return decode_square(bytes(picture), size=size, fit=fit)[0]
    if not isinstance(picture, Image.Image):
        picture = Image.fromarray(_as_array(picture))
    square: np.ndarray = np.asarray(to_square(upright_rgb(picture), size, fit)).transpose(2, 0, 1)
    return square


def _read(path: str | os.PathLike[str]) -> bytes:
    if "://" in str(path):
        raise RecordError(
            "is an address; nothing is fetched from the network here. Download it and pass the file."
        )
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise RecordError(f"cannot be read ({error.strerror or error})") from error
    except ValueError as error:  # a zero byte, or half a character
        raise RecordError(f"is no path that a file can have ({error})") from error


def _as_array(picture: Any) -> np.ndarray:
    if isinstance(picture, Tensor):
        if picture.dtype != torch.uint8:  # numpy knows fewer kinds of numbers
            raise RecordError(f"has dtype {picture.dtype}; expected uint8 values from 0 to 255")
        picture = picture.detach().cpu()
        picture = (picture.permute(1, 2, 0) if picture.ndim == 3 else picture).numpy()
    if not isinstance(picture, np.ndarray):
        raise RecordError(
            f"is a {type(picture).__name__}; expected a path, bytes, a PIL image or a uint8 array"
        )
    if picture.dtype != np.uint8:
        raise RecordError(f"has dtype {picture.dtype}; expected uint8 values from 0 to 255")
    if picture.ndim == 3 and picture.shape[2] == 1:
        picture = picture[:, :, 0]
    if picture.ndim == 2 or (picture.ndim == 3 and picture.shape[2] == 3):
        return np.ascontiguousarray(picture)
    raise RecordError(f"has shape {picture.shape}; expected (H, W, 3) or (H, W), or a tensor (3, H, W)")
