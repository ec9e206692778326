"""One thread that runs the model, on batches of what several requests ask for.

Requests wait in the event loop's thread; their inputs wait in lanes, one for each kind of work. The thread
takes the input that has waited longest, and with it others of its lane: as many as fit into a batch, those of
like size first. It waits a few milliseconds for company, but only while some is to be expected: until as many
inputs are there as were around since the last batch began, for clients that have their answer may ask again.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Protocol

from likewise.errors import LikewiseError
from likewise.serving.refusals import Refusal, refusal_of

__all__ = ["Batcher", "Observer", "Work"]

_log = logging.getLogger("likewise.serving")

_RETRY_SECONDS = 1


@dataclass(frozen=True)
class Work:
    """A kind of work, which one call does for a batch.

    Args:
        key: equal for works whose inputs may share a batch.
        run: the inputs of a batch to as many results.
        most_inputs: inputs of a batch.
        most_padded: inputs times the largest size among them.
    """

    key: Hashable
    run: Callable[[list[Any]], Iterable[Any]] = field(compare=False)
    most_inputs: int
    most_padded: int | None = None


class Observer(Protocol):
    """Is told what the batcher does."""

    def batch(self, work: Hashable, inputs: int, seconds: float) -> None:
        """A batch was computed."""

    def dropped(self, inputs: int) -> None:
        """Inputs were dropped, as nobody waits for them."""


@dataclass(eq=False)
class _Item:
    work: Work
    value: Any
    size: int
    arrived: float
    future: asyncio.Future[Any]
    wanted: bool = True


class Batcher:
    """The queue and its thread.

    Args:
        max_queue: inputs that may be handled or waiting at a time.
        wait_seconds: how long an input waits for others.
        observer: is told of batches.
    """

    def __init__(self, *, max_queue: int, wait_seconds: float, observer: Observer) -> None:
        self._max_queue, self._wait, self._observer = max_queue, wait_seconds, observer
        self._places = 0
        self._lanes: dict[Work, list[_Item]] = {}
        self._condition = threading.Condition()
        self._closed = False
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread = threading.Thread(target=self._serve, name="model", daemon=True)
        self._expected = 1  # the most places that were taken since the last batch began

    def start(self) -> None:
        """Start the thread; called in the event loop that will ask."""
        self._loop = asyncio.get_running_loop()
        self._thread.start()

    def close(self) -> None:
        """Compute what waits, and end the thread."""
        with self._condition:
            self._closed = True
            self._condition.notify()
        self._thread.join()

    @property
    def places_taken(self) -> int:
        """Inputs that are handled or waiting."""
        return self._places

    @property
    def is_alive(self) -> bool:
        """Whether the thread runs."""
        return self._thread.is_alive()

    def check_free(self, count: int = 1) -> None:
        """Refuse (429) what finds no place in the queue now."""
        if self._places + count > self._max_queue:
            raise Refusal(
                429,
                f"the queue is full: {self._places:,} of {self._max_queue:,} places are taken, and this "
                f"request needs {count:,} or more; try again later",
                code="queue_full",
                retry_after=_RETRY_SECONDS,
            )

    @contextmanager
    def places(self, count: int) -> Iterator[None]:
        """Take places in the queue, before any work is done for the inputs.

        Raises:
            Refusal: 413 if there will never be so many, 429 if they are taken now.
        """
        if count > self._max_queue:
            raise Refusal(
                413, f"{count:,} inputs; this server handles {self._max_queue:,} at a time", code="too_many"
            )
        self.check_free(count)
        self._places += count
        try:
            yield
        finally:
            self._places -= count

    async def compute(
        self, work: Work, values: Sequence[Any], sizes: Sequence[int] | None = None
    ) -> list[Any]:
        """Results of inputs, computed in batches with those of other requests.

        Cancelling drops what has not begun.

        Args:
            work: what to do.
            values: N inputs.
            sizes: tokens of each; only for works with `most_padded`.

        Raises:
            Refusal: of the first input that failed.
        """
        assert self._loop is not None
        now = time.monotonic()
        items = [
            _Item(work, value, 1 if sizes is None else sizes[place], now, self._loop.create_future())
            for place, value in enumerate(values)
        ]
        with self._condition:
            if self._closed:
                raise Refusal(503, "the server is shutting down", code="closing", retry_after=_RETRY_SECONDS)
            self._lanes.setdefault(work, []).extend(items)
            self._expected = max(self._expected, self._places)
            self._condition.notify()
        try:
            return [await item.future for item in items]
        finally:
            for item in items:
                item.wanted = False
                if item.future.done() and not item.future.cancelled():
                    item.future.exception()  # seen: the first failure speaks for all

    def _serve(self) -> None:
        while True:
            batch = self._next_batch()
            if batch is None:
                return
            started = time.monotonic()
            results = _results(batch)
            self._observer.batch(batch[0].work.key, len(batch), time.monotonic() - started)
            assert self._loop is not None
            try:
                self._loop.call_soon_threadsafe(_deliver, batch, results)
            except RuntimeError:  # the loop has ended, and with it everybody who waited
                return

    def _next_batch(self) -> list[_Item] | None:
        with self._condition:
            while True:
                self._drop_unwanted()
                if not self._lanes:
                    if self._closed:
                        return None
                    self._condition.wait()
                    continue
                lane = min(self._lanes.values(), key=lambda items: items[0].arrived)
                work = lane[0].work
                left = lane[0].arrived + self._wait - time.monotonic()
                complete = sum(map(len, self._lanes.values())) >= self._expected or _is_full(work, lane)
                if left > 0 and not complete and not self._closed:
                    self._condition.wait(left)
                    continue
                batch = _packed(work, lane)
                taken = set(map(id, batch))
                rest = [item for item in lane if id(item) not in taken]
                if rest:
                    self._lanes[work] = rest
                else:
                    del self._lanes[work]
                self._expected = self._places
                return batch

    def _drop_unwanted(self) -> None:
        for work, items in list(self._lanes.items()):
            wanted = [item for item in items if item.wanted]
            if len(wanted) < len(items):
                self._observer.dropped(len(items) - len(wanted))
                self._lanes[work] = wanted
            if not wanted:
                del self._lanes[work]


def _is_full(work: Work, lane: list[_Item]) -> bool:
    padded = len(lane) * max(item.size for item in lane)
    return len(lane) >= work.most_inputs or (work.most_padded is not None and padded >= work.most_padded)


def _packed(work: Work, lane: list[_Item]) -> list[_Item]:
    """The item that has waited longest, and those of like size that fit beside it."""
    first = lane[0]
    others = sorted(lane[1:], key=lambda item: abs(item.size - first.size)) if work.most_padded else lane[1:]
    batch, longest = [first], first.size
    for item in others:
        if len(batch) == work.most_inputs:
            break
        grown = max(longest, item.size)
        if work.most_padded is not None and grown * (len(batch) + 1) > work.most_padded:
            continue
        batch.append(item)
        longest = grown
    return batch


def _results(batch: list[_Item]) -> list[Any]:
    """A result or a Refusal for each item; where a batch fails, each item is tried alone."""
    try:
        results = list(batch[0].work.run([item.value for item in batch]))
        assert len(results) == len(batch)
        return results
    except LikewiseError as error:
        if len(batch) == 1:
            return [refusal_of(error)]
    except Exception as error:  # noqa: BLE001 - the thread must outlive any error of one input
        if len(batch) == 1:
            _log.exception("work %r failed", batch[0].work.key)
            return [_unexpected(error)]
    return [_results([item])[0] for item in batch]


def _unexpected(error: Exception) -> Refusal:
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return Refusal(503, "out of memory; try a smaller input", code="out_of_memory", retry_after=10)
    return Refusal(500, "an error of the server; its log says which", code="internal")


def _deliver(batch: list[_Item], results: list[Any]) -> None:
    for item, result in zip(batch, results, strict=True):
        if item.future.done():  # cancelled
            continue
        if isinstance(result, Refusal):
            item.future.set_exception(result)
        else:
            item.future.set_result(result)
