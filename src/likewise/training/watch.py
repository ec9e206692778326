"""A watch over the ranks of a training: where one dies, fails or hangs, the others end and name it.

Collectives wait in C++, where no Python signal handler runs and where some backends wait for a dead rank
for good. So a thread on every rank tells the others, through a store on rank 0, that it lives. Waits that may
be long (for the cache, a checkpoint, an evaluation) are not collectives but Python loops.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

from torch import distributed
from torch.distributed import TCPStore  # type: ignore[attr-defined]

from likewise.collectives import rank, world_size
from likewise.errors import Interrupted, TrainingError
from likewise.messages import first_line

__all__ = ["Watch", "current_watch", "exchange", "watched"]

_EVERY_SECONDS = 1.0
_SILENT_SECONDS = 120.0
"""A rank that gave no sign for so long is gone; one on this machine that ended is seen at once."""
_GRACE_SECONDS = 20.0
"""For the main thread to end by itself: it may be writing a checkpoint."""
_LATE_SECONDS = (600.0, 2.0)
"""After the first and after the second signal, if the main thread waits in C++ and handles none."""
_VERDICT_SECONDS = 5.0
_STOPPING = (signal.SIGTERM, signal.SIGINT)

_current: Watch | None = None


class Watch:
    """The thread, and what it knows.

    Args:
        store: shared by all ranks; its server is in rank 0.
        children: processes that this one started, the next ranks in order.
    """

    def __init__(self, store: Any, children: list[Any]) -> None:
        self.failure: str | None = None
        """Which rank is gone, and why."""
        self.signals_handled = 0
        self._store = store
        self._children = children
        self._round = 0
        self._closed = threading.Event()
        self._received: list[float] = []
        self._seen = {other: (-1, time.monotonic()) for other in range(world_size())}
        self._wakeup, self._sender = socket.socketpair()
        self._wakeup.setblocking(False)
        self._sender.setblocking(False)
        self._thread = threading.Thread(target=self._run, name="likewise-watch", daemon=True)
        self._thread.start()

    @contextlib.contextmanager
    def catching_signals(self) -> Iterator[None]:
        """Inside, the thread is told of signals as they arrive, before the main thread handles them."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = signal.set_wakeup_fd(self._sender.fileno(), warn_on_full_buffer=False)
        try:
            yield
        finally:
            signal.set_wakeup_fd(before)

    def check(self) -> None:
        """Raise `TrainingError` if a rank is gone."""
        if self.failure is not None:
            raise TrainingError(self.failure)

    def until(self, ready: Callable[[], bool]) -> None:
        """Wait, as long as all ranks live."""
        pause = 1e-4
        while not ready():
            self.check()
            time.sleep(pause)
            pause = min(2 * pause, 0.05)

    def exchange(self, value: str) -> list[str]:
        """The values of all ranks, in order; each waits for the others, however long that takes."""
        self._round += 1
        keys = [f"{self._round}/{number}" for number in range(world_size())]
        try:
            self._store.set(keys[rank()], value)
            self.until(lambda: bool(self._store.check(keys)))
            return [self._store.get(key).decode() for key in keys]
        except RuntimeError as error:  # of the store
            raise TrainingError(_gone(0, "its connection is closed")) from error

    def verdict(self) -> str | None:
        """Which rank is gone, after a collective failed: perhaps the thread has yet to see it."""
        end = time.monotonic() + _VERDICT_SECONDS
        while self.failure is None and time.monotonic() < end:
            time.sleep(0.05)
        return self.failure

    def close(self, error: BaseException | None) -> None:
        """Tell the others that this rank leaves, and why."""
        ended_well = error is None or isinstance(error, Interrupted)
        reason = "" if error is None or ended_well else first_line(error)
        with contextlib.suppress(RuntimeError):
            self._store.set(f"left/{rank()}", reason)
            if rank() == 0:
                if reason:
                    self._store.set("gone", f"rank 0 failed: {reason}")
                self._wait_for_others(_SILENT_SECONDS if ended_well else _VERDICT_SECONDS)
        self._closed.set()
        self._sender.send(b"\0")
        self._thread.join()
        self._wakeup.close()
        self._sender.close()

    def _wait_for_others(self, seconds: float) -> None:
        """They still read from the store, which goes with this process."""
        keys = [f"left/{number}" for number in range(world_size())]
        end = time.monotonic() + seconds
        while self.failure is None and time.monotonic() < end and not self._store.check(keys):
            time.sleep(0.02)

    def _run(self) -> None:
        while self.failure is None and not self._closed.is_set():
            if select.select([self._wakeup], [], [], _EVERY_SECONDS)[0]:
                arrived = [number for number in self._wakeup.recv(64) if number in _STOPPING]
                self._received += [time.monotonic()] * len(arrived)
            self._check_signals()
            try:
                self.failure = self._look()
            except RuntimeError as error:
                self.failure = _gone(0, first_line(error)) if rank() else str(error)
        if not self._closed.wait(_GRACE_SECONDS):
            _end(f"{self.failure}", TrainingError.exit_code)

    def _check_signals(self) -> None:
        pending = len(self._received) - self.signals_handled
        if pending < 1:
            return
        late = _LATE_SECONDS[min(len(self._received), len(_LATE_SECONDS)) - 1]
        if time.monotonic() - self._received[-1] > late:
            _end("stopped by a signal while waiting for another rank", Interrupted.exit_code)

    def _look(self) -> str | None:
        """Say that this rank lives; returns which one does not."""
        now = time.monotonic()
        self._store.set(f"alive/{rank()}", str(int(now)))
        if self._store.check(["gone"]):
            return str(self._store.get("gone").decode())
        reason = next(filter(None, map(self._state_of, self._known_by_this())), None)
        if reason is not None:
            self._store.set("gone", reason)
        return reason

    def _known_by_this(self) -> range:
        """The ranks to look after: rank 0 looks after all, any other after the processes it started."""
        first = rank() + 1
        return range(first, world_size() if rank() == 0 else first + len(self._children))

    def _state_of(self, other: int) -> str | None:
        number = other - rank() - 1
        code = self._children[number].poll() if number < len(self._children) else None
        if self._store.check([f"left/{other}"]):
            reason = self._store.get(f"left/{other}").decode()
            return f"rank {other} failed: {reason}" if reason else None
        if code is not None:
            return _gone(other, f"signal {-code}" if code < 0 else f"exit code {code}")
        alive = int(self._store.get(f"alive/{other}")) if self._store.check([f"alive/{other}"]) else -1
        before, since = self._seen[other]
        if alive != before:
            self._seen[other] = (alive, time.monotonic())
        elif time.monotonic() - since > _SILENT_SECONDS:
            return _gone(other, f"no sign of life for {_SILENT_SECONDS:.0f} s")
        return None


def _gone(number: int, reason: str) -> str:
    return (
        f"rank {number} is gone ({reason}), and the others cannot go on without it; --resume goes on from "
        "the newest checkpoint."
    )


def _end(message: str, code: int) -> None:
    """End this process, whose main thread waits in C++."""
    print(f"likewise train: {message}", file=sys.stderr, flush=True)
    os._exit(code)


@contextlib.contextmanager
def watched(fabric: Any) -> Iterator[None]:
    """Inside, the ranks are watched; a lost connection becomes an error that names the rank."""
    global _current
    if world_size() == 1:
        yield
        return
    failure: BaseException | None = None
    watch = _current = _start(fabric)
    try:
        with watch.catching_signals():
            yield
    except RuntimeError as error:  # what collectives raise
        failure = error
        reason = watch.verdict()
        if reason is None:
            raise
        raise TrainingError(reason) from error
    except BaseException as error:
        failure = error
        raise
    finally:
        _current = None
        watch.close(failure)


def current_watch() -> Watch | None:
    """The watch over this training; None with one process."""
    return _current


def exchange(value: str) -> list[str]:
    """The values of all ranks, in order, however long another takes.

    Raises:
        TrainingError: a rank is gone.
    """
    if _current is not None:
        return _current.exchange(value)
    if world_size() == 1:
        return [value]
    values: list[Any] = [None] * world_size()
    distributed.all_gather_object(values, value)
    return values


def _start(fabric: Any) -> Watch:
    """A store on a free port of rank 0, and the watch over it."""
    host, is_server = os.environ.get("MASTER_ADDR", "127.0.0.1"), rank() == 0
    timeout = timedelta(seconds=_SILENT_SECONDS)

    def connect(port: int) -> Any:
        return TCPStore(host, port, None, is_server, timeout, wait_for_workers=False)

    store = connect(0) if is_server else None
    port = fabric.broadcast(store.port if store is not None else 0)
    launcher = getattr(fabric.strategy, "launcher", None)
    started = getattr(launcher, "procs", [])
    children = list(started)
    started.clear()  # Fabric's own observer would kill this process without a word
    return Watch(store if store is not None else connect(port), children)
