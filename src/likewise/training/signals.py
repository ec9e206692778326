"""Stop between two steps on SIGTERM and SIGINT."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import torch

from likewise.collectives import world_size

__all__ = ["stop_signal"]

_TIMEOUT = timedelta(days=7)


@contextmanager
def stop_signal() -> Iterator[Callable[[], str | None]]:
    """Catch SIGTERM and SIGINT; the yielded function returns the signal's name, or None.

    Every process calls it after each step and gets the same answer, whichever process got the signal. A
    second signal interrupts at once. Outside the main thread signals are left alone, as Python requires.
    """
    caught: list[str] = []
    # A gloo group of its own, so that the exchange at every step does not wait for a GPU. The other ranks
    # wait in it while rank 0 evaluates, however long that takes.
    group = torch.distributed.new_group(backend="gloo", timeout=_TIMEOUT) if world_size() > 1 else None

    def catch(number: int, frame: Any) -> None:
        if caught:
            raise KeyboardInterrupt
        caught.append(signal.Signals(number).name)

    def current() -> str | None:
        names: list[str | None] = [caught[0] if caught else None]
        if world_size() > 1:
            own, names = names[0], [None] * world_size()
            torch.distributed.all_gather_object(names, own, group=group)
        return next((name for name in names if name is not None), None)

    is_main = threading.current_thread() is threading.main_thread()
    numbers = (signal.SIGTERM, signal.SIGINT) if is_main else ()
    previous = {number: signal.signal(number, catch) for number in numbers}
    try:
        yield current
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
