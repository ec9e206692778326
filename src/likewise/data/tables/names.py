"""What names tell: of files, of splits, of columns; and which cells are empty."""

from __future__ import annotations

import math
import re
from typing import Any

__all__ = [
    "AUDIO_EXTENSIONS",
    "IMAGE_EXTENSIONS",
    "IMAGE_HEADERS",
    "canonical_split",
    "is_image_name",
    "is_missing",
    "looks_like_audio_path",
    "looks_like_file",
    "looks_like_image_path",
    "plain_name",
    "without_caption_number",
]

IMAGE_EXTENSIONS = (
    ".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".gif", ".bmp", ".tif", ".tiff", ".ppm", ".pgm",
    ".pbm", ".jp2", ".avif", ".tga", ".ico",
)  # fmt: skip

AUDIO_EXTENSIONS = (".wav", ".wave", ".flac", ".ogg", ".oga", ".opus", ".mp3")

IMAGE_HEADERS = (
    "image", "images", "img", "image_path", "img_path", "file_name", "filename", "image_file", "image_name",
    "filepath", "file_path", "path", "photo", "picture", "image_bytes", "jpg", "jpeg", "png", "webp", "file",
    "图片", "图像",
    "image_1", "image1", "image_a", "left_image", "image_left", "left", "first_image", "图片1", "图像1",
)  # fmt: skip
"""Usual headers of columns of images, the likeliest first."""

_CAPTION_NUMBER = re.compile(r"(\.\w{2,4})#\d+$")
_SPLITS = {
    "train": "train", "training": "train", "tr": "train",
    "validation": "validation", "valid": "validation", "val": "validation", "dev": "validation",
    "development": "validation", "eval": "validation", "evaluation": "validation",
    "test": "test", "testing": "test",
}  # fmt: skip


def canonical_split(name: str) -> str | None:
    """ "train", "validation" or "test" for the usual ways to write them, else None."""
    return _SPLITS.get(name.strip().lower())


def is_missing(value: Any) -> bool:
    """Whether a cell is empty: None, or NaN, which pandas writes there."""
    return value is None or (isinstance(value, float) and math.isnan(value))


def plain_name(header: str) -> str:
    """A header in lower case, with one underscore for whatever is no letter or digit."""
    return re.sub(r"[\W]+", "_", header.strip().lower()).strip("_")


def is_image_name(header: str) -> bool:
    """Whether a column of this name usually holds images."""
    return plain_name(header) in IMAGE_HEADERS


def looks_like_file(value: Any, endings: tuple[str, ...] = IMAGE_EXTENSIONS + AUDIO_EXTENSIONS) -> bool:
    """Whether a cell reads like the name of a file with one of these endings, by default any that is read."""
    return (
        isinstance(value, str)
        and len(value) < 1024
        and without_caption_number(value.strip()).lower().endswith(endings)
    )


def looks_like_image_path(value: Any) -> bool:
    """Whether a cell reads like the name of an image file."""
    return looks_like_file(value, IMAGE_EXTENSIONS)


def looks_like_audio_path(value: Any) -> bool:
    """Whether a cell reads like the name of a sound file."""
    return looks_like_file(value, AUDIO_EXTENSIONS)


def without_caption_number(path: str) -> str:
    """ "1.jpg" of "1.jpg#0", as Flickr8k and its like number the captions of an image."""
    return _CAPTION_NUMBER.sub(r"\1", path)
