"""Small JPEG images that show what an entry is."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
from PIL import Image

from likewise.data.images.decode import decode_upright

__all__ = ["thumbnail_of_bytes", "thumbnail_of_pixels"]

_QUALITY = 85
_MAX_KEPT_BYTES = 24_000


def thumbnail_of_bytes(data: bytes, side: int) -> bytes:
    """A JPEG of at most `side` pixels a side, upright; a small JPEG stays as it is.

    Raises:
        RecordError: these bytes hold no usable image.
    """
    if len(data) <= _MAX_KEPT_BYTES and data[:2] == b"\xff\xd8":
        with Image.open(io.BytesIO(data)) as image:
            # Without EXIF, which may turn the image, and say where it was taken.
            if max(image.size) <= side and image.mode == "RGB" and not image.info.get("exif"):
                return data
    return _encoded(decode_upright(data, shrink_to=side, fit="pad"), side)


def thumbnail_of_pixels(pixels: np.ndarray[Any, Any], side: int) -> bytes:
    """The same of (3, S, S) uint8."""
    return _encoded(Image.fromarray(np.ascontiguousarray(np.moveaxis(pixels, 0, -1))), side)


def _encoded(image: Image.Image, side: int) -> bytes:
    if max(image.size) > side:
        scale = side / max(image.size)
        image = image.resize(
            (max(1, round(image.width * scale)), max(1, round(image.height * scale))),
            Image.Resampling.BICUBIC,
            reducing_gap=3.0,
        )
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=_QUALITY)
    return buffer.getvalue()
