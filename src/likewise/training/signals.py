"""Stopping on request, between two steps."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import torch

from likewise.collectives import world_size

__all__ = ["asked_to_stop"]


_LONG = timedelta(days=7)


@contextmanager
def asked_to_stop() -> Iterator[Callable[[], str | None]]:
    """Turn SIGTERM and SIGINT into a question that the loop asks after each step.

    Outside the main thread, to which Python gives all signals, there is no asking to stop: they stay with
    whoever started the thread.
    """
    asked: list[str] = []
    # A group of its own over gloo: the question crosses once a step, and must not wait for a GPU.
    # The others wait in it while the first replica looks at the held-out part, however long that takes.
    group = torch.distributed.new_group(backend="gloo", timeout=_LONG) if world_size() > 1 else None

    def note(number: int, frame: Any) -> None:
        del frame
        if asked:  # the second time, at once
            raise KeyboardInterrupt
        asked.append(signal.Signals(number).name)

    def answer() -> str | None:
        # Every replica must stop after the same step, whichever got the signal.
        if world_size() > 1:
            flags: list[str | None] = [None] * world_size()
            torch.distributed.all_gather_object(flags, asked[0] if asked else None, group=group)
            return next((flag for flag in flags if flag is not None), None)
        return asked[0] if asked else None

    numbers = (signal.SIGTERM, signal.SIGINT)
    heard = numbers if threading.current_thread() is threading.main_thread() else ()
    previous = {number: signal.signal(number, note) for number in heard}
    try:
        yield answer
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
