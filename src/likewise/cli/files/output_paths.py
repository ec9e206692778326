"""Checks of the files that a command writes, before its work."""

from __future__ import annotations

import os
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from likewise.data.files import expand
from likewise.data.sources.image_folder import is_image, is_sound
from likewise.data.tables.open_table import is_table
from likewise.errors import ConfigError

__all__ = ["check_place", "why_not_there"]


def check_place(option: str, path: Path, *, such_as: str, inputs: Iterable[str | None]) -> None:
    """Reject a path where no file can be written, or where one lies that the command reads.

    Args:
        option: the flag that gave it, for the message.
        path: of the file; its folder need not exist.
        such_as: an example of a file name.
        inputs: files, folders, patterns and other sources that are read; None for what was not given.

    Raises:
        ConfigError: with the reason.
    """
    if os.path.isdir(path):
        raise ConfigError(f"{option} {path} is a folder; expected a file, such as {path / such_as}.")
    reason = why_not_there(path)
    if reason is not None:
        raise ConfigError(f"{option} {path} cannot be written: {reason}; name another place.")
    if any(_reads(one.removeprefix("file://"), path) for one in inputs if one is not None):
        raise ConfigError(f"{option} {path} is a file that is read here, and would be lost; name another.")


def _reads(source: str, path: Path) -> bool:
    """Whether a file that is there is a source, or one of its files."""
    if not path.is_file():
        return False
    if os.path.isdir(source):
        within = path.resolve().is_relative_to(Path(source).resolve())
        return within and any(kind(path.name) for kind in (is_table, is_image, is_sound))
    known = os.path.exists(source) or not any(sign in source for sign in "*?{[")
    files = [source]
    if not known and "://" not in source:
        with suppress(OSError, ValueError):  # no pattern; whoever opens it says so
            files = expand(source)
    return any(os.path.exists(file) and path.samefile(file) for file in files)


def why_not_there(path: Path) -> str | None:
    """Why no file can be written at a path, or None."""
    if os.path.isdir(path):
        return f"{path} is a folder"
    folder = next(parent for parent in path.absolute().parents if os.path.exists(parent))
    if not os.path.isdir(folder):
        return f"{folder} is a file"
    if not os.access(folder, os.W_OK | os.X_OK):
        return f"nothing may be written into {folder}"
    return None
