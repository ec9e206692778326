"""Encoded bytes to an upright RGB image, and that to the stored square.

The first frame of an animation, turned as EXIF says, transparency over white, 16 bits scaled to 8, CMYK
converted. Color profiles are not applied.
"""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Iterator
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from likewise.errors import OutOfReach, RecordError

__all__ = ["MAX_PIXELS", "decode_square", "decode_upright", "read_size", "to_rgb", "to_square", "upright_rgb"]

MAX_PIXELS = 89_478_485
"""Larger images are refused: this is a quarter of a gibibyte as RGB, and where Pillow starts to warn."""

MIN_SIDE = 2
_STRIP_PIXELS = 1 << 22
PAD_COLOUR = (124, 116, 104)
"""Color of the padding: the mean of photographs, so close to zero after normalization."""

# Tried in order, the usual ones first. Not EPS and WMF: Pillow hands those to external programs, and a file
# called .jpg may be one.
_FORMATS = (
    "JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "MPO", "AVIF", "JPEG2000", "PPM", "TGA", "ICO", "PCX", "SGI",
    "DDS", "DIB", "PSD", "ICNS", "QOI",
)  # fmt: skip

_BOMBS = (Image.DecompressionBombError, Image.DecompressionBombWarning)

# What Pillow's many decoders raise on damaged input.
_DAMAGE = (
    *_BOMBS,
    OSError, ValueError, SyntaxError, EOFError, IndexError, KeyError, TypeError, AttributeError,
    OverflowError, ZeroDivisionError, AssertionError, NotImplementedError, MemoryError, RuntimeError,
    struct.error, zlib.error,
)  # fmt: skip

_ORIENTATION_TAG = 0x0112
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def decode_upright(data: bytes, *, shrink_to: int | None = None, fit: str = "crop") -> Image.Image:
    """Decode an image, upright and RGB.

    Args:
        data: an encoded image of any format Pillow reads.
        shrink_to: a JPEG may be decoded at 1/2, 1/4 or 1/8 of its size, if the part that `fit` keeps stays
            at least as large as this square.
        fit: see `to_square`.

    Raises:
        RecordError: these bytes hold no usable image.
    """
    return _decode(data, shrink_to, fit)[0]


def decode_square(data: bytes, *, size: int, fit: str) -> tuple[NDArray[np.uint8], tuple[int, int]]:
    """Decode an image to a square.

    Returns:
        (3, size, size) uint8, and the image's own (width, height), upright.

    Raises:
        RecordError: these bytes hold no usable image.
    """
    image, own_size = _decode(data, size, fit)
    return np.asarray(to_square(image, size, fit)).transpose(2, 0, 1), own_size


def read_size(data: bytes) -> tuple[int, int]:
    """Width and height as stored, from the header alone. Raises RecordError."""
    return _open(data).size


def to_square(image: Image.Image, size: int, fit: str) -> Image.Image:
    """Fit an image into a square; shrinking averages over the area of each new pixel.

    Args:
        image: RGB.
        size: the side.
        fit: "crop" keeps the middle, "pad" the whole on grey, "squash" the whole out of proportion.
    """
    width, height = image.size
    if fit == "pad":
        scale = size / max(width, height)
        inner = (max(1, round(width * scale)), max(1, round(height * scale)))
        square = Image.new("RGB", (size, size), PAD_COLOUR)
        square.paste(_resized(image, inner, None), ((size - inner[0]) // 2, (size - inner[1]) // 2))
        return square
    box = None
    if fit == "crop":
        side = min(width, height)
        left, top = (width - side) / 2, (height - side) / 2
        box = (left, top, left + side, top + side)
    return _resized(image, (size, size), box)


def _resized(
    image: Image.Image, size: tuple[int, int], box: tuple[float, float, float, float] | None
) -> Image.Image:
    if image.size == size and box in (None, (0.0, 0.0, *size)):
        return image
    # Pillow widens the bicubic kernel by the factor of shrinking (area-correct); reducing_gap first averages
    # whole pixels of far larger images, which is faster and indistinguishable at 3.
    return image.resize(size, Image.Resampling.BICUBIC, box=box, reducing_gap=3.0)


@lru_cache
def _formats() -> tuple[str, ...]:
    """The formats we read that this Pillow supports."""
    Image.init()
    return tuple(name for name in _FORMATS if name in Image.OPEN)


def _open(data: bytes) -> Image.Image:
    if not data:
        raise RecordError("zero bytes: the file is empty")
    try:
        image = Image.open(io.BytesIO(data), formats=_formats())
    except UnidentifiedImageError:
        raise RecordError(
            f"not an image, or of no kind that Pillow reads: {len(data)} bytes beginning {data[:12]!r}"
        ) from None
    except _DAMAGE as error:
        raise _unreadable(error) from None
    _scale_transparency(image)
    width, height = image.size
    if width * height > MAX_PIXELS:
        raise RecordError(f"absurdly large (a decompression bomb?): {width} x {height} pixels")
    if min(width, height) < MIN_SIDE:
        raise RecordError(f"{width} x {height} pixels: nothing to be seen")
    return image


def _scale_transparency(image: Image.Image) -> None:
    """Scale the transparent color of a 16-bit RGB PNG to 8 bits, as Pillow scales the pixels on loading."""
    color = image.info.get("transparency")
    tile = getattr(image, "tile", [])
    if image.format == "PNG" and isinstance(color, tuple) and tile and "16" in str(tile[0][3]):
        image.info["transparency"] = tuple(value >> 8 for value in color)


def _decode(data: bytes, shrink_to: int | None, fit: str) -> tuple[Image.Image, tuple[int, int]]:
    image = _open(data)
    width, height = image.size
    try:
        if shrink_to is not None and image.format in ("JPEG", "MPO"):
            ratio = width / height if fit == "pad" else 1.0  # of the part that must not get too small
            target = (int(shrink_to * min(1, ratio)), int(shrink_to / max(1, ratio)))
            image.draft(None, (max(1, target[0]), max(1, target[1])))
        image.load()
        orientation = _orientation(image)  # after loading: of a TIFF, Pillow turns the pixels then by itself
        rgb = to_rgb(image)
    except _DAMAGE as error:
        raise _unreadable(error, cut_short=len(data) < 64) from None
    if orientation in _TURNS:
        rgb = rgb.transpose(_TURNS[orientation])
    return rgb, (height, width) if orientation >= 5 else (width, height)


def _unreadable(error: Exception, *, cut_short: bool = False) -> RecordError:
    """The RecordError for an error of Pillow's. A bomb may hide behind a harmless header."""
    if isinstance(error, _BOMBS):
        return RecordError(f"absurdly large (a decompression bomb?): {error}")
    if isinstance(error, MemoryError):
        return OutOfReach("took more memory than there was to decode")
    cut_short = cut_short or "truncated" in str(error).lower()
    return RecordError(f"{'truncated' if cut_short else 'damaged'}: {error}")


def _orientation(image: Image.Image) -> int:
    """The EXIF orientation, 1 (upright) to 8; a damaged EXIF block does not spoil the image."""
    try:
        value = image.getexif().get(_ORIENTATION_TAG, 1)
    except (*_DAMAGE, UserWarning):  # a warning where warnings are made errors
        return 1
    return value if isinstance(value, int) and 1 <= value <= 8 else 1


def upright_rgb(image: Image.Image) -> Image.Image:
    """Turn an opened image upright and convert it to RGB.

    Raises:
        RecordError: its pixels cannot be read (Pillow opens files without reading them), or there are none.
    """
    try:
        _scale_transparency(image)
        rgb = to_rgb(ImageOps.exif_transpose(image))
    except _DAMAGE as error:
        raise _unreadable(error) from None
    if min(rgb.size) == 0:
        raise RecordError(f"{rgb.width} x {rgb.height} pixels: nothing to be seen")
    return rgb


def to_rgb(image: Image.Image) -> Image.Image:
    """Convert any mode to RGB: transparency over white, deep grey levels scaled to 8 bits."""
    if image.mode == "RGB" and "transparency" not in image.info:
        return image
    if image.mode.startswith("I") or image.mode == "F":
        return _from_deep(image)
    if image.mode in ("RGBA", "LA", "PA", "RGBa", "La") or "transparency" in image.info:
        # Pillow cannot convert La (grey multiplied by its alpha) to RGBA directly.
        rgb = Image.new("RGB", image.size)
        for top, strip in _strips(image):
            layered = (strip.convert("LA") if image.mode == "La" else strip).convert("RGBA")
            paper = Image.new("RGBA", layered.size, (255, 255, 255, 255))
            rgb.paste(Image.alpha_composite(paper, layered).convert("RGB"), (0, top))
        return rgb
    return image.convert("RGB")


def _strips(image: Image.Image) -> Iterator[tuple[int, Image.Image]]:
    """The image in strips, each after its first row: what is computed of a large image stays small."""
    height = max(1, _STRIP_PIXELS // max(1, image.width))
    for top in range(0, image.height, height):
        yield top, image.crop((0, top, image.width, min(top + height, image.height)))


def _from_deep(image: Image.Image) -> Image.Image:
    """16-bit, 32-bit and float grey to 8 bits; Pillow's own conversion clips at 255."""
    bounds = [
        (values.min(), values.max()) for _, strip in _strips(image) if (values := np.asarray(strip)).size
    ]
    low, high = float(np.min(bounds)), float(np.max(bounds))
    if not np.isfinite(low) or not np.isfinite(high):
        raise RecordError("holds values that are not finite")
    if image.mode == "F" and low >= 0 and high <= 255:
        black, factor = 0.0, 255.0 if high <= 1 else 1.0
    elif low >= 0 and high <= 65535 and image.mode != "F":
        black, factor = 0.0, 255 / 65535  # the whole range, so that images stay comparable in brightness
    else:
        black, factor = low, 255 / max(high - low, 1e-12)  # no convention applies: stretch
    grey = np.empty((image.height, image.width), np.uint8)
    for top, strip in _strips(image):
        values = np.asarray(strip)  # (h, W)
        part = grey[top : top + len(values)]
        part[:] = np.round((values.astype(np.float64) - black) * factor)
        part[values == image.info.get("transparency")] = 255
    return Image.fromarray(grey).convert("RGB")
