"""Batches of a training part, made ahead of their step.

Dimensions: N rows, B rows of a batch on one replica, R replicas.
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import torch

from likewise.batches.batch import Batch
from likewise.batches.samplers import Order, occurrences
from likewise.batches.tokenized_texts import TokenTable
from likewise.data.dataset import Dataset
from likewise.step_random import StepRandom
from likewise.views import caption_flags

__all__ = ["Loader", "Prefetcher"]


class Loader:
    """Makes the batches of a training part.

    Args:
        dataset: the training part, N rows.
        tokens: its captions, or None where there are none.
        order: which rows a step has, over all replicas together.
        seed: decides which caption of a row is read.
        rank: this replica's place.
        world_size: R; batches are shared evenly.
    """

    def __init__(
        self,
        dataset: Dataset,
        tokens: TokenTable | None,
        order: Order,
        *,
        seed: int,
        rank: int = 0,
        world_size: int = 1,
    ) -> None:
        self._dataset = dataset
        self._tokens = tokens
        self._order = order
        self._seed = seed
        self._rank, self._world_size = rank, world_size
        self.steps_per_epoch = order.steps_per_epoch
        self._flags = (
            None if tokens is None else tuple(np.asarray(flag) for flag in caption_flags(tokens.captions))
        )

    def _own(self, everyone: np.ndarray) -> np.ndarray:
        """This replica's (B,) of all replicas' (R B,)."""
        return np.ascontiguousarray(everyone.reshape(self._world_size, -1)[self._rank])

    def batch(self, step: int) -> Batch:
        """This replica's batch at a step, on the CPU."""
        everyone = self._order.rows(step)
        rows, times = self._own(everyone), self._own(occurrences(everyone))
        named = Batch(index=torch.from_numpy(rows), occurrence=torch.from_numpy(times))
        data = self._dataset
        parts: dict[str, torch.Tensor] = {"group": torch.from_numpy(data.groups[rows])}
        if data.pixels is not None:
            parts["images"] = data.images(rows)
        if data.labels is not None:
            parts["label"] = torch.from_numpy(data.labels[rows])
        if data.domains is not None:
            parts["domain"] = torch.from_numpy(data.domains[rows])
        if self._tokens is not None and self._flags is not None:
            uniform = StepRandom(self._seed, step).uniform(named.key, 1, purpose="caption")[:, 0].numpy()
            captions = self._tokens.pick(rows, uniform)
            tokens, mask = self._tokens.padded(captions)
            keep_sides, keep_colours = (torch.from_numpy(flag[captions]) for flag in self._flags)
            parts |= {"tokens": torch.from_numpy(tokens), "mask": torch.from_numpy(mask)}
            parts |= {"keep_sides": keep_sides, "keep_colours": keep_colours}
        return replace(named, **parts)


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
