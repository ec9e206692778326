"""Files that are written whole or not at all."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from likewise.errors import WriteError

__all__ = ["failure_to_read", "failure_to_write", "sync_folder", "write_whole", "written_whole"]

_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


@contextmanager
def written_whole(path: Path) -> Iterator[Path]:
    """A temporary path that is renamed to `path` at the end, or removed if writing fails.

    Args:
        path: of the file, in a folder that exists.

    Raises:
        WriteError: an `OSError` inside, or when renaming (a full disk).
    """
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        yield beside
        beside.replace(path)
    except WriteError:  # of another file
        raise
    except OSError as error:
        raise failure_to_write(path, error) from error
    finally:
        with suppress(OSError):  # still there only if writing failed
            beside.unlink(missing_ok=True)


def failure_to_write(path: Path, error: OSError) -> WriteError:
    """The error that names the file and what was not written."""
    hint = "; make room there and try again" if error.errno in _NO_ROOM else ""
    return WriteError(f"{path} was not written ({_reason(error)}){hint}.")


def failure_to_read(path: Path, error: OSError) -> str:
    """The message that names the file; a failing disk's own error does not."""
    return f"{path} cannot be read ({_reason(error)})"


def _reason(error: OSError) -> str:
    return error.strerror or str(error) or type(error).__name__


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
