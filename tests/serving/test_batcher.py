"""The batcher alone: packing, the bounded queue, what is dropped, what fails alone."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Coroutine, Hashable
from typing import Any

import pytest

from likewise.errors import DataError
from likewise.serving.batcher import Batcher, Work
from likewise.serving.refusals import Refusal


class Seen:
    """An observer that remembers."""

    def __init__(self) -> None:
        self.batches: list[int] = []
        self.lost = 0

    def batch(self, work: Hashable, inputs: int, seconds: float) -> None:
        assert seconds >= 0
        self.batches.append(inputs)

    def dropped(self, inputs: int) -> None:
        self.lost += inputs


def with_batcher(body: Any, *, max_queue: int = 100, wait: float = 0.05) -> Seen:
    """Run `body(batcher)` in an event loop."""

    async def run() -> Seen:
        seen = Seen()
        batcher = Batcher(max_queue=max_queue, wait_seconds=wait, observer=seen)
        batcher.start()
        try:
            await body(batcher)
        finally:
            batcher.close()
        assert batcher.places_taken == 0
        return seen

    return asyncio.run(run())


def doubling(most: int = 10, padded: int | None = None) -> Work:
    return Work("double", lambda values: [2 * value for value in values], most, padded)


async def asked(batcher: Batcher, work: Work, values: list[Any], sizes: list[int] | None = None) -> list[Any]:
    with batcher.places(len(values)):
        return await batcher.compute(work, values, sizes)


def test_requests_at_the_same_time_share_a_batch_and_each_gets_its_own() -> None:
    async def body(batcher: Batcher) -> None:
        found = await asyncio.gather(*(asked(batcher, doubling(), [n, 100 + n]) for n in range(4)))
        assert found == [[2 * n, 200 + 2 * n] for n in range(4)]

    assert with_batcher(body).batches == [8]


def test_a_batch_is_never_larger_than_it_may_be() -> None:
    async def body(batcher: Batcher) -> None:
        found = await asyncio.gather(*(asked(batcher, doubling(most=3), [n]) for n in range(8)))
        assert found == [[2 * n] for n in range(8)]

    assert with_batcher(body).batches == [3, 3, 2]


def test_batches_are_packed_by_padded_size_with_neighbours_in_size() -> None:
    batches: list[list[int]] = []

    def run(values: list[int]) -> list[int]:
        batches.append(values)
        return values

    work = Work("sizes", run, 100, 20)

    async def body(batcher: Batcher) -> None:
        sizes = [9, 2, 10, 3, 2, 3]
        assert await asked(batcher, work, sizes, sizes) == sizes

    with_batcher(body)
    assert batches[0] == [9, 10]  # the one that came first, and its like: 2 x 10 <= 20
    assert sorted(batches[1]) == [2, 2, 3, 3]
    assert all(max(batch) * len(batch) <= 20 for batch in batches)


def test_an_item_that_is_larger_than_a_batch_goes_alone() -> None:
    async def body(batcher: Batcher) -> None:
        assert await asked(batcher, doubling(padded=5), [1, 2], [50, 50]) == [2, 4]

    assert with_batcher(body).batches == [1, 1]


def test_a_lone_request_does_not_wait_for_company() -> None:
    async def body(batcher: Batcher) -> None:
        await asyncio.wait_for(asked(batcher, doubling(), [1]), 5)

    with_batcher(body, wait=60.0)


def test_a_request_waits_for_those_that_were_there_before_and_no_longer() -> None:
    async def body(batcher: Batcher) -> None:
        for _ in range(3):  # both are back each time, and nobody waits for a third
            await asyncio.wait_for(asked(batcher, doubling(), [1, 2]), 0.9)
        started = time.monotonic()
        assert await asked(batcher, doubling(), [1]) == [2]  # for the second, until the time is over
        assert time.monotonic() - started > 0.9
        await asyncio.wait_for(asked(batcher, doubling(), [1]), 0.9)  # which is not expected any more

    assert with_batcher(body, wait=1.0).batches[3:] == [1, 1]


def test_kinds_of_work_never_share_a_batch() -> None:
    adding = Work("add", lambda values: [value + 1 for value in values], 10)

    async def body(batcher: Batcher) -> None:
        found = await asyncio.gather(asked(batcher, doubling(), [5, 6]), asked(batcher, adding, [5, 6]))
        assert found == [[10, 12], [6, 7]]

    assert with_batcher(body).batches == [2, 2]


def test_a_full_queue_refuses_single_and_list_alike_and_places_come_back() -> None:
    async def body(batcher: Batcher) -> None:
        with batcher.places(3):
            for count in (2, 1 + 1):
                with pytest.raises(Refusal) as refused, batcher.places(count):
                    pass
                assert (refused.value.status, refused.value.retry_after) == (429, 1)
            with batcher.places(1), pytest.raises(Refusal, match="4 of 4"), batcher.places(1):
                pass
        with pytest.raises(Refusal) as never, batcher.places(5):
            pass
        assert never.value.status == 413
        assert await asked(batcher, doubling(), [1, 2, 3, 4]) == [2, 4, 6, 8]

    with_batcher(body, max_queue=4)


def test_what_nobody_waits_for_is_not_computed() -> None:
    begin, computed = threading.Event(), []

    def slow(values: list[int]) -> list[int]:
        begin.wait(10)
        computed.extend(values)
        return values

    work = Work("slow", slow, 1)

    async def body(batcher: Batcher) -> None:
        first = asyncio.ensure_future(asked(batcher, work, [1]))
        await asyncio.sleep(0.1)  # the thread has it
        left = asyncio.ensure_future(asked(batcher, work, [2, 3]))
        await asyncio.sleep(0.05)
        left.cancel()
        with pytest.raises(asyncio.CancelledError):
            await left
        begin.set()
        assert await first == [1]
        assert await asked(batcher, work, [4]) == [4]

    seen = with_batcher(body)
    assert computed == [1, 4]
    assert seen.lost == 2


@pytest.mark.parametrize(
    ("error", "status", "code"),
    [
        (DataError("no such answer"), 422, "bad_input"),
        (ValueError("inside"), 500, "internal"),
        (MemoryError(), 503, "out_of_memory"),
    ],
)
def test_one_bad_input_fails_alone(error: Exception, status: int, code: str) -> None:
    def run(values: list[int]) -> list[int]:
        if 13 in values:
            raise error
        return values

    work = Work("fragile", run, 10)

    async def body(batcher: Batcher) -> None:
        found = await asyncio.gather(*(asked(batcher, work, [n]) for n in (1, 13, 2)), return_exceptions=True)
        assert [found[0], found[2]] == [[1], [2]]
        assert isinstance(found[1], Refusal)
        assert (found[1].status, found[1].code) == (status, code)
        assert "inside" not in found[1].message

    with_batcher(body)


def test_closing_computes_what_waits_and_refuses_what_comes() -> None:
    async def run() -> None:
        batcher = Batcher(max_queue=10, wait_seconds=0.0, observer=Seen())
        batcher.start()
        waiting: Coroutine[Any, Any, Any] = asked(batcher, doubling(), [1])
        task = asyncio.ensure_future(waiting)
        await asyncio.sleep(0)
        await asyncio.to_thread(batcher.close)
        assert await task == [2]
        with pytest.raises(Refusal, match="shutting down"):
            await asked(batcher, doubling(), [1])

    asyncio.run(run())
