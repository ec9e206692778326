"""The files of a cache, and whether they are whole."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

__all__ = ["FILES", "array_kind", "damage", "description", "wrong_array"]

FILES = ("images.npy", "hashes.npy", "sizes.npy")
"""The arrays; a cache without pixels lacks the first."""


def description(folder: Path) -> dict[str, Any]:
    """What cache.json says."""
    described: dict[str, Any] = json.loads((folder / "cache.json").read_text(encoding="utf-8"))
    return {"for_now": []} | described


def damage(folder: Path, count: int, size: int) -> str | None:
    """The file of a finished cache that is not whole; None where all are, or there is no such cache.

    Args:
        folder: of the cache.
        count: how many images it is of.
        size: side of the stored squares.
    """
    try:
        described = description(folder)
        files = FILES if described["has_pixels"] else FILES[1:]
        whole = isinstance(described["bad"], dict)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (ValueError, TypeError, KeyError):
        return "cache.json"
    return wrong_array(folder, files, count, size) if whole else "cache.json"


def wrong_array(folder: Path, files: Sequence[str], count: int, size: int) -> str | None:
    """The first of these arrays that is absent, cut short or of another shape; None where all are whole."""
    for name in files:
        try:
            array = np.load(folder / name, mmap_mode="r")
        except (FileNotFoundError, ValueError, EOFError):  # of an empty file, or one that ends too early
            return name
        if (array.shape, array.dtype) != array_kind(name, count, size):
            return name
    return None


def array_kind(name: str, count: int, size: int) -> tuple[tuple[int, ...], np.dtype[Any]]:
    """Shape and type of one of the arrays."""
    kinds: dict[str, tuple[tuple[int, ...], type]] = {
        "images.npy": ((count, 3, size, size), np.uint8),
        "hashes.npy": ((count,), np.uint64),
        "sizes.npy": ((count, 2), np.int32),
    }
    shape, kind = kinds[name]
    return shape, np.dtype(kind)
