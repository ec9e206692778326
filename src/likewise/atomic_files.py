"""Files that are written whole or not at all."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

__all__ = ["sync_folder", "written_whole"]


@contextmanager
def written_whole(path: Path) -> Iterator[Path]:
    """A place to write to, which takes the place of `path` at the end; where writing fails, nothing is left.

    Args:
        path: of the file; its folder is there.
    """
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        yield beside
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)  # only where something failed is it still there


def sync_folder(folder: Path) -> None:
    """Make renames inside `folder` last through a power cut (where the system allows it)."""
    if os.name == "nt":  # Windows cannot open folders, and makes renames durable by itself
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
