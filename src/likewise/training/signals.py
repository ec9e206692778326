"""Stop between two steps on SIGTERM and SIGINT."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import torch
from torch import distributed

from likewise.collectives import world_size
from likewise.errors import Interrupted, LikewiseError, TrainingError
from likewise.training.watch import current_watch, exchange

__all__ = ["stop_signal"]

_TIMEOUT = timedelta(days=7)
_FAILED = 1 << 10  # above all signal numbers


@contextmanager
def stop_signal() -> Iterator[Callable[[str | None], LikewiseError | None]]:
    """Catch SIGTERM and SIGINT; the yielded function returns why to stop, or None.

    Every process calls it after each step, with what failed on it (None if nothing did), and gets the same
    answer: `Interrupted` with the signal's name, or `TrainingError` with the failure. A second signal
    interrupts at once. Outside the main thread signals are left alone, as Python requires.
    """
    caught: list[int] = []
    # A gloo group of its own, so that the exchange at every step does not wait for a GPU. The other ranks
    # wait in it while rank 0 evaluates, however long that takes.
    group = distributed.new_group(backend="gloo", timeout=_TIMEOUT) if world_size() > 1 else None

    def catch(number: int, frame: Any) -> None:
        if (watch := current_watch()) is not None:
            watch.signals_handled += 1
        if caught:
            raise KeyboardInterrupt
        caught.append(number)

    def current(failure: str | None) -> LikewiseError | None:
        reason = torch.tensor(_FAILED if failure is not None else caught[0] if caught else 0)
        if group is not None:
            work = distributed.all_reduce(reason, distributed.ReduceOp.MAX, group=group, async_op=True)
            if (watch := current_watch()) is not None:
                watch.until(work.is_completed)
            work.wait()
        if int(reason) == _FAILED:
            return TrainingError(next(filter(None, exchange(failure or ""))))
        return Interrupted(f"stopped by {signal.Signals(int(reason)).name}") if int(reason) else None

    is_main = threading.current_thread() is threading.main_thread()
    numbers = (signal.SIGTERM, signal.SIGINT) if is_main else ()
    previous = {number: signal.signal(number, catch) for number in numbers}
    try:
        yield current
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
