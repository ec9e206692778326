"""Batches of a training part, made ahead of their step.

Dimensions: N rows, B rows of a batch on one process, R processes.
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import torch

from likewise.batches.batch import Batch
from likewise.batches.samplers import Order, occurrences
from likewise.batches.tokenized_texts import AnswerTable, GroupMates, TokenTable
from likewise.data.column_kinds import Texts
from likewise.data.columns import Needs, column_names, column_of
from likewise.data.dataset import Dataset
from likewise.step_random import StepRandom

__all__ = ["Loader", "Prefetcher"]


class Loader:
    """Makes the batches of a training part.

    Args:
        dataset: the training part, N rows.
        tokens: its texts by column (`tokenize`); texts that are not tokenized are left out.
        order: which rows a step has, over all processes together.
        seed: decides which text of a row is read.
        needs: of the method. Labels that are required of the source domain only are masked (-1) in the
            target domain, so that nothing can learn from them.
        mates: where given, `text_2` is another text of each text's group.
        answers: the tokens of the answers, where they are read.
        texts_per_row: texts that are read of each row of the column `text`.
        rank: this process's number.
        world_size: R; batches are shared evenly.
    """

    def __init__(
        self,
        dataset: Dataset,
        tokens: Mapping[str, TokenTable],
        order: Order,
        *,
        seed: int,
        needs: Needs | None = None,
        mates: GroupMates | None = None,
        answers: AnswerTable | None = None,
        texts_per_row: int = 1,
        rank: int = 0,
        world_size: int = 1,
    ) -> None:
        self._dataset = dataset
        self._tokens = tokens
        self._answers = answers
        self._mates = mates
        self._order = order
        self._seed = seed
        self._texts_per_row = texts_per_row
        self._rank, self._world_size = rank, world_size
        self.steps_per_epoch = order.steps_per_epoch
        wanted = needs.columns if needs is not None else {}
        batched = [name for name in column_names() if column_of(name).batched or name in wanted]
        self._columns = {
            name: dataset.column(name)
            for name in batched
            if dataset.has(name) and not issubclass(column_of(name).kind, Texts)
        }
        target = self._is_target = dataset.is_target
        for name, need in wanted.items():
            if need.domain is not None and name in self._columns and target is not None:
                self._columns[name] = self._columns[name].without(target == (need.domain == "source"))

    def _own(self, everyone: np.ndarray) -> np.ndarray:
        """This process's (B,) of all processes' (R B,)."""
        return np.ascontiguousarray(everyone.reshape(self._world_size, -1)[self._rank])

    def batch(self, step: int) -> Batch:
        """This process's batch at a step, on the CPU."""
        everyone = self._order.rows(step)
        rows, times = self._own(everyone), self._own(occurrences(everyone))
        index, occurrence = torch.from_numpy(rows), torch.from_numpy(times)
        key = Batch(index=index, occurrence=occurrence).key
        columns: dict[str, Any] = {name: column.collate(rows) for name, column in self._columns.items()}

        def uniform(purpose: str) -> np.ndarray:
            drawn: np.ndarray = StepRandom(self._seed, step).uniform(key, 1, purpose=purpose)[:, 0].numpy()
            return drawn

        for name, table in self._tokens.items():
            per_row = self._texts_per_row if name == "text" else 1
            drawn = uniform("caption" if name == "text" else f"caption {name}")
            columns[name] = table.batch(rows, drawn, per_row=per_row)
            if name == "text" and self._mates is not None:
                picked = self._mates.pick(table.pick(rows, drawn), uniform("group mate"))
                columns["text_2"] = table.batch_of(picked)
        if self._answers is not None:
            columns["answer"] = self._answers.batch(rows)
        return Batch(index=index, occurrence=occurrence, num_source=self._num_source(rows), **columns)

    def _num_source(self, rows: np.ndarray) -> int | None:
        """How many rows of the source come first; None where the domains are mixed, or there is one."""
        if self._is_target is None:
            return None
        target = self._is_target[rows]
        count = len(rows) - int(target.sum())
        return count if target[count:].all() else None


class Prefetcher:
    """Makes the batches of steps `start` to `stop` in a thread, a few ahead; counts the time spent waiting
    for them.

    Args:
        loader: makes a batch.
        start: the first step.
        stop: one past the last step.
        ahead: batches made before they are asked for.
        device: of the training; for a GPU the batches are put into page-locked memory, so that copies overlap
            with its work.
    """

    def __init__(
        self, loader: Loader, start: int, stop: int, *, ahead: int = 3, device: torch.device | None = None
    ) -> None:
        self._loader = loader
        self._steps = range(start, stop)
        self._device = device
        self._pin = device is not None and device.type == "cuda"
        self._queue: queue.Queue[Batch | BaseException] = queue.Queue(maxsize=ahead)
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._work, name="likewise-batches", daemon=True)
        self.waited_seconds = 0.0

    def __enter__(self) -> Prefetcher:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._closed.set()
        while self._thread.is_alive():
            self._drain()
            self._thread.join(timeout=0.05)

    def __iter__(self) -> Iterator[Batch]:
        for _ in self._steps:
            began = time.perf_counter()
            item = self._queue.get()
            self.waited_seconds += time.perf_counter() - began
            if isinstance(item, BaseException):
                raise item
            yield item

    def _drain(self) -> None:
        while not self._queue.empty():
            self._queue.get_nowait()

    def _work(self) -> None:
        try:
            if self._pin:  # a thread begins on GPU 0, and pinning there would open a context on it
                torch.cuda.set_device(self._device)
            for step in self._steps:
                batch = self._loader.batch(step)
                self._put(batch.pin_memory() if self._pin else batch)
                if self._closed.is_set():
                    return
        except BaseException as error:  # noqa: BLE001 - handed to the training thread, which raises it
            self._put(error)

    def _put(self, item: Batch | BaseException) -> None:
        while not self._closed.is_set():
            try:
                self._queue.put(item, timeout=0.1)
                return
            except queue.Full:
                continue
