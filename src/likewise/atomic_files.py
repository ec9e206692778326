"""Files that are written whole or not at all."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from likewise.errors import LikewiseError, WriteError

__all__ = ["failure_to_read", "failure_to_write", "sync_folder", "written_whole"]


_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


@contextmanager
def written_whole(path: Path) -> Iterator[Path]:
    """A place to write to, which takes the place of `path` at the end; where writing fails, nothing is left.

    Args:
        path: of the file; its folder is there.

    Raises:
        WriteError: an `OSError` inside, or when renaming (a full disk).
    """
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        yield beside
        beside.replace(path)
    except LikewiseError:
        raise
    except OSError as error:
        raise failure_to_write(path, error) from error
    finally:
        with suppress(OSError):  # only where something failed is it still there
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


def sync_folder(folder: Path) -> None:
    """Make renames inside `folder` last through a power cut (where the system allows it)."""
    if os.name == "nt":  # Windows cannot open folders, and makes renames durable by itself
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
