"""One training at a time in a run's folder."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Iterator
from typing import Any

from likewise.errors import ConfigError
from likewise.training.run import RunFolder

__all__ = ["held"]


@contextlib.contextmanager
def held(run: RunFolder, fabric: Any) -> Iterator[None]:
    """Keep every other training out of the folder, also one on another machine that shares it.

    Two that write there would mix: the settings of one beside the weights of the other. The system drops the
    lock when its holder ends in any way, so it cannot become stale.

    Raises:
        ConfigError: another process trains there; on every replica.
    """
    from filelock import FileLock, Timeout

    lock = FileLock(run.path / ".lock")
    is_free, is_new = True, not run.path.exists()
    if fabric.is_global_zero:
        try:
            run.path.mkdir(parents=True, exist_ok=True)
            lock.acquire(timeout=0)
        except Timeout:
            is_free = False
        except NotImplementedError:
            warnings.warn(
                f"the file system of {run.path} knows no locks: nothing keeps two trainings apart there",
                stacklevel=2,
            )
    if not fabric.broadcast(is_free):
        raise ConfigError(
            f"another process is training into {run.path}; wait for it to end, or name another --out."
        )
    try:
        yield
    finally:
        lock.release()
        if fabric.is_global_zero and not run.config.is_file():  # a refused start leaves nothing of this
            (run.path / ".lock").unlink(missing_ok=True)
            with contextlib.suppress(OSError):  # what says why it was refused may lie there
                if is_new:
                    run.path.rmdir()
