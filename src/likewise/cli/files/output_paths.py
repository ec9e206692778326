"""Checks of the files that a command writes, before its work."""

from __future__ import annotations

import os
from pathlib import Path

from likewise.errors import ConfigError

__all__ = ["check_place", "why_not_there"]


def check_place(option: str, path: Path, *, such_as: str) -> None:
    """Reject a path where no file can be written.

    Args:
        option: the flag that gave it, for the message.
        path: of the file; its folder need not exist.
        such_as: an example of a file name.

    Raises:
        ConfigError: with the reason.
    """
    if os.path.isdir(path):
        raise ConfigError(f"{option} {path} is a folder; expected a file, such as {path / such_as}.")
    reason = why_not_there(path)
    if reason is not None:
        raise ConfigError(f"{option} {path} cannot be written: {reason}; name another place.")


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
