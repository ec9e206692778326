"""Files that are written whole or not at all."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

__all__ = ["sync_folder", "write_whole", "written_whole"]


@contextmanager
def written_whole(path: Path) -> Iterator[Path]:
    """A temporary path that is renamed to `path` at the end, or removed if writing fails.

    Args:
        path: of the file, in a folder that exists.
    """
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        yield beside
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)  # still there only if writing failed


def write_whole(path: Path, text: str) -> None:
    """Write a text file as UTF-8, whole or not at all; makes its folder."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with written_whole(path) as beside:
        beside.write_text(text, encoding="utf-8")


def sync_folder(folder: Path) -> None:
    """Make renames inside `folder` survive a power cut, where the system allows it."""
    if os.name == "nt":  # Windows cannot open folders; its renames are durable
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
