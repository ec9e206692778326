"""One training at a time in a run's folder."""

from __future__ import annotations

import contextlib
import os
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from likewise.errors import ConfigError
from likewise.runs.folder import RunFolder

if TYPE_CHECKING:
    from filelock import FileLock

__all__ = ["held"]


@contextlib.contextmanager
def held(run: RunFolder, fabric: Any) -> Iterator[None]:
    """Keep every other training out of the folder, also one on another machine that shares it.

    Two that write there would mix: the settings of one beside the weights of the other. The system drops the
    lock when its holder ends in any way, so it cannot become stale.

    Raises:
        ConfigError: another process trains there, or nothing can be written there; on every replica.
    """
    from filelock import FileLock

    lock, is_new = FileLock(run.path / ".lock"), not os.path.exists(run.path)
    refusal = fabric.broadcast(_take(run.path, lock) if fabric.is_global_zero else None)
    if refusal is not None:
        raise ConfigError(refusal)
    try:
        yield
    finally:
        lock.release()
        if fabric.is_global_zero and not run.config.is_file():  # a refused start leaves nothing of this
            (run.path / ".lock").unlink(missing_ok=True)
            with contextlib.suppress(OSError):  # what says why it was refused may lie there
                if is_new:
                    run.path.rmdir()


def _take(folder: Path, lock: FileLock) -> str | None:
    """Make the folder and lock it; in words why that cannot be, or None."""
    from filelock import Timeout

    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock.acquire(timeout=0)
    except Timeout:
        return f"another process is training into {folder}; wait for it to end, or name another --out."
    except NotImplementedError:
        warnings.warn(
            f"the file system of {folder} knows no locks: nothing keeps two trainings apart there",
            stacklevel=2,
        )
    except OSError as error:
        reason = "it is a file" if os.path.isfile(folder) else error.strerror or error
        return f"{folder} cannot hold a run ({reason}); name another --out."
    return None
