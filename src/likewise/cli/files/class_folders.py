"""Copies of images in one folder a class."""

from __future__ import annotations

import re
from pathlib import Path

from likewise.atomic_files import written_whole
from likewise.data.images.refs import FileImage
from likewise.data.record import Record
from likewise.errors import ConfigError

__all__ = ["UNSURE", "check_folder", "copy_into_class"]

UNSURE = "_unsure"
"""The folder of images whose class is not sure enough."""

_FORBIDDEN = re.compile(r"[\x00-\x1f/\\:*?\"<>|]+")
_LONGEST = 120
_SUFFIXES = {b"\xff\xd8\xff": ".jpg", b"\x89PNG": ".png", b"GIF8": ".gif", b"RIFF": ".webp", b"BM": ".bmp"}


def check_folder(folder: str) -> None:
    """Reject a place that cannot be such a folder, before any work. Raises ConfigError."""
    if Path(folder).exists() and not Path(folder).is_dir():
        raise ConfigError(f"--sort-into {folder} is a file; expected a folder.")


def copy_into_class(record: Record, label: str | None, folder: Path) -> Path:
    """Copy an image into the folder of its class; a file that is there is never replaced.

    Args:
        record: has an image.
        label: the class; None where it is not sure enough.
        folder: of the classes.

    Returns:
        The copy. Where the same image is there already, it stays the only one.
    """
    assert record.image is not None
    data = record.image.read()
    inside = folder / (UNSURE if label is None else _file_name(label))
    inside.mkdir(parents=True, exist_ok=True)
    name = record.image.address if isinstance(record.image, FileImage) else record.id
    name = _file_name(Path(name).name)
    suffix = Path(name).suffix
    if not suffix:
        suffix = next((end for start, end in _SUFFIXES.items() if data.startswith(start)), ".img")
    stem, number = name.removesuffix(suffix), 1
    path = inside / f"{stem}{suffix}"
    while path.exists():
        if path.stat().st_size == len(data) and path.read_bytes() == data:
            return path
        number += 1
        path = inside / f"{stem}-{number}{suffix}"
    with written_whole(path) as beside:
        beside.write_bytes(data)
    return path


def _file_name(text: str) -> str:
    """A name that every file system takes, and that stays inside its folder."""
    name = _FORBIDDEN.sub("_", text).strip(". ")[:_LONGEST]
    return name or "_"
