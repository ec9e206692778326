"""Which rows make the batch of a step: pure functions of (seed, step). So there is no state to save, and all
processes agree.

Dimensions: N rows, B rows of a batch over all R processes, K rows of a class side by side.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from likewise.batches.domain_order import DomainOrder, shared_groups
from likewise.batches.streams import Rows, Stream, generator
from likewise.errors import ConfigError, DataError

__all__ = [
    "ClassOrder",
    "Order",
    "OrderName",
    "PairOrder",
    "ShuffledOrder",
    "batch_unit",
    "make_order",
    "most_rows",
    "occurrences",
]

OrderName = Literal["shuffled", "classes", "pairs", "domains", "domain-pairs"]


class Order(Protocol):
    """The rows of each step's batch."""

    steps_per_epoch: int

    def rows(self, step: int) -> Rows:
        """(B,) int64 rows of all processes' batches, side by side."""


def make_order(
    kind: OrderName,
    labels: Rows | None,
    *,
    num_rows: int,
    batch_size: int,
    examples_per_class: int,
    world_size: int,
    seed: int,
    is_target: NDArray[np.bool_] | None = None,
    source_share: float = 0.5,
    groups: Rows | None = None,
) -> Order:
    """The order of that name.

    Args:
        kind: `shuffled` rows; `classes`: K rows of a class side by side; `pairs`: rows 2i and 2i + 1 are of
            the same class in one half of the pairs, of different ones in the other; `domains`: a stated share
            of source rows, the rest target rows, on each process; `domain-pairs`: the same, and every second
            target row is of the same group as the source row at its place, where there is one.
        labels: (N,) int64, negative where a row has none; needed by `classes` and `pairs`.
        num_rows: N.
        batch_size: B.
        examples_per_class: K.
        world_size: R; rows that belong together stay on one process.
        seed: decides the order.
        is_target: (N,) rows of the target domain; needed by `domains` and `domain-pairs`.
        source_share: the share of a batch that are source rows, of the same.
        groups: (N,) what is the same thing; needed by `domain-pairs`.

    Raises:
        ConfigError: a batch cannot be drawn that way.
        DataError: fewer than two rows; no labels, a single class, or one example of each class; one domain.
    """
    if num_rows < 2:
        raise DataError(f"training needs two rows or more, and the training part has {num_rows}.")
    if kind == "shuffled":
        _check_shuffled(num_rows, batch_size, world_size)
        return ShuffledOrder(num_rows, batch_size=batch_size, seed=seed)
    if kind in ("domains", "domain-pairs"):
        if is_target is None or is_target.all() or not is_target.any():
            raise DataError(
                f"--training.order {kind} draws rows of a source and of a target domain, and the training "
                "part has one domain; name the target with --data.target, or use --training.order shuffled."
            )
        _check_together(kind, batch_size, examples_per_class, world_size, num_rows)
        if kind == "domain-pairs" and not (groups is not None and shared_groups(groups, is_target).any()):
            raise DataError(
                "--training.order domain-pairs draws rows of a group from both domains, and no group is in "
                "both; give --data.group-column and, for two sources, --data.shared-groups, or use "
                "--training.order domains."
            )
        return DomainOrder(
            is_target,
            batch_size=batch_size,
            source_share=source_share,
            world_size=world_size,
            seed=seed,
            groups=groups if kind == "domain-pairs" else None,
        )
    known = _known_classes(labels, kind)
    most = most_rows(kind, known, num_rows, examples_per_class)
    _check_together(kind, batch_size, examples_per_class, world_size, most)
    if kind == "classes":
        return ClassOrder(known, batch_size=batch_size, examples_per_class=examples_per_class, seed=seed)
    return PairOrder(known, batch_size=batch_size, seed=seed)


def _check_shuffled(num_rows: int, batch_size: int, world_size: int) -> None:
    wanted = num_rows // 4
    if batch_size < 2:
        wrong = "there is nothing to compare a row with"
    elif batch_size > num_rows:
        wrong = f"there are only {num_rows} training rows"
    elif batch_size % world_size:
        wrong, wanted = f"{world_size} processes cannot share it evenly", batch_size
    else:
        return
    fitting = max(2, world_size, wanted // world_size * world_size)
    hint = f"--training.batch-size {fitting}" if fitting <= num_rows else "fewer processes, or more rows"
    raise ConfigError(f"--training.batch-size is {batch_size}: {wrong}; try {hint}.")


def _check_together(
    kind: OrderName, batch_size: int, examples_per_class: int, world_size: int, most: int
) -> None:
    unit, least = batch_unit(kind, examples_per_class, world_size)
    if batch_size % unit == 0 and least <= batch_size <= most:
        return
    fitting = min(max(batch_size // unit * unit, least), most // unit * unit)
    hint = f"--training.batch-size {fitting}"
    if fitting < least:
        fewer = "--training.examples-per-class or processes" if kind == "classes" else "processes"
        hint = f"fewer {fewer}, or more labelled rows"
    why = " and a batch has two classes or more" if kind == "classes" else ""
    why = " and each needs both domains" if kind.startswith("domain") else why
    raise ConfigError(
        f"--training.batch-size {batch_size}: --training.order {kind} needs a multiple of {unit} from "
        f"{least} to {most} here, since {unit // world_size} rows stay together on each of "
        f"{world_size} processes{why}; try {hint}."
    )


def most_rows(kind: OrderName, labels: Rows | None, num_rows: int, examples_per_class: int) -> int:
    """The most rows that a batch can have; by class, no more than an epoch has."""
    if kind != "classes" or labels is None:
        return num_rows
    return min(num_rows, _num_chunks(labels, examples_per_class) * examples_per_class)


def batch_unit(kind: OrderName, examples_per_class: int, world_size: int) -> tuple[int, int]:
    """A batch over all processes is a multiple of the first, and at least the second: it has two classes, or
    both domains on each process."""
    together = {"classes": examples_per_class, "pairs": 4}.get(kind, 1)
    unit = world_size * together
    least = {"classes": max(unit, 2 * together), "domains": 2 * unit, "domain-pairs": 2 * unit}
    return unit, least.get(kind, unit)


def occurrences(rows: Rows) -> Rows:
    """Which time each row of a batch stands in it: (B,) int64, 0 for the first, 1 where it comes again, ...

    Args:
        rows: (B,) of all processes together, so that the answer does not depend on their number.
    """
    order = np.argsort(rows, kind="stable")  # equal rows side by side, in the order they come
    _, starts, counts = np.unique(rows[order], return_index=True, return_counts=True)
    times = np.empty(len(rows), np.int64)
    times[order] = np.arange(len(rows)) - np.repeat(starts, counts)
    return times


def _known_classes(labels: Rows | None, kind: str) -> Rows:
    known = np.empty(0, np.int64) if labels is None else np.unique(labels[labels >= 0])
    if labels is None or len(known) < 2:
        raise DataError(
            f"--training.order {kind} draws rows by their class, and the training part has {len(known)} "
            "classes; give labels of two classes or more."
        )
    if np.unique(labels[labels >= 0], return_counts=True)[1].max() < 2:
        raise DataError(
            f"--training.order {kind} needs classes with two examples, and every class has one; "
            "give more rows."
        )
    return labels


def _by_class(labels: Rows) -> tuple[Rows, Rows]:
    """The labelled rows, those of a class side by side, and (C,) how many each class has."""
    rows = np.flatnonzero(labels >= 0)
    counts = np.unique(labels[rows], return_counts=True)[1]
    return rows[np.argsort(labels[rows], kind="stable")], counts


def _num_chunks(labels: Rows, examples_per_class: int) -> int:
    """How many times K rows of a class an epoch has."""
    counts = np.unique(labels[labels >= 0], return_counts=True)[1]
    return int((-(-counts // examples_per_class)).sum())


class ShuffledOrder:
    """Random rows without replacement; each epoch is a new order, its last incomplete batch is left out."""

    def __init__(self, num_rows: int, *, batch_size: int, seed: int) -> None:
        self.steps_per_epoch = num_rows // batch_size
        self._num_rows, self._batch_size, self._seed = num_rows, batch_size, seed
        self._epoch = lru_cache(maxsize=2)(self._permutation)

    def _permutation(self, epoch: int) -> Rows:
        return generator(self._seed, 0, epoch).permutation(self._num_rows)

    def rows(self, step: int) -> Rows:
        """See `Order`."""
        epoch, place = divmod(step, self.steps_per_epoch)
        return self._epoch(epoch)[place * self._batch_size : (place + 1) * self._batch_size]


class ClassOrder:
    """Batches of B / K classes with K examples each (Hermans 2017, arXiv 1703.07737, section 2).

    In an epoch every labelled row appears once; a class whose size K does not divide fills its last K rows
    up from its own, in other views (`Batch.key`). Classes are dealt out evenly over the epoch; where they
    are few for the batch, it may hold one twice.
    """

    def __init__(self, labels: Rows, *, batch_size: int, examples_per_class: int, seed: int) -> None:
        rows, counts = _by_class(labels)
        self._classes = np.split(rows, np.cumsum(counts)[:-1])
        self._batch_size, self._together, self._seed = batch_size, examples_per_class, seed
        self.steps_per_epoch = _num_chunks(labels, examples_per_class) * examples_per_class // batch_size
        self._epoch = lru_cache(maxsize=2)(self._chunks)

    def _chunks(self, epoch: int) -> Rows:
        """(chunks, K) rows."""
        random = generator(self._seed, 1, epoch)
        chunks, places = [], []
        for rows in self._classes:
            count = -(-len(rows) // self._together)
            chunks.append(np.resize(random.permutation(rows), (count, self._together)))
            # The r-th of n falls into the r-th n-th of the epoch.
            places.append((np.arange(count) + random.random(count)) / count)
        return np.concatenate(chunks)[np.argsort(np.concatenate(places))]

    def rows(self, step: int) -> Rows:
        """See `Order`."""
        epoch, place = divmod(step, self.steps_per_epoch)
        per_batch = self._batch_size // self._together
        return self._epoch(epoch)[place * per_batch : (place + 1) * per_batch].reshape(-1)


class PairOrder:
    """B / 2 pairs side by side, in turn of the same class and of different ones.

    First rows go through the labelled rows without replacement (those of the same-class pairs through the
    classes with two rows or more); the second is any other row of the class, or one of another class, each
    other class being equally likely.
    """

    def __init__(self, labels: Rows, *, batch_size: int, seed: int) -> None:
        self._by_class, counts = _by_class(labels)
        self._starts = np.concatenate([[0], np.cumsum(counts)])
        self._class_of = np.repeat(np.arange(len(counts)), counts)  # of each place in `_by_class`
        self._paired = np.flatnonzero(counts[self._class_of] >= 2)
        self._num_classes, self._batch_size, self._seed = len(counts), batch_size, seed
        self.steps_per_epoch = max(1, len(self._by_class) // batch_size)
        self._same = Stream(len(self._paired), seed, 2)
        self._apart = Stream(len(self._by_class), seed, 3)

    def rows(self, step: int) -> Rows:
        """See `Order`."""
        quarter = self._batch_size // 4
        random = generator(self._seed, 4, step)
        same = self._paired[self._same.take(step * quarter, quarter)]
        apart = self._apart.take(step * quarter, quarter)
        first, last = self._starts[self._class_of[same]], self._starts[self._class_of[same] + 1]
        # One of the class's others: skip over the row itself.
        partner = first + (random.random(quarter) * (last - first - 1)).astype(np.int64)
        partner += partner >= same
        other = (random.random(quarter) * (self._num_classes - 1)).astype(np.int64)
        other += other >= self._class_of[apart]
        start, stop = self._starts[other], self._starts[other + 1]
        stranger = start + (random.random(quarter) * (stop - start)).astype(np.int64)
        pairs: Rows = np.stack([same, partner, apart, stranger], axis=1)  # (B / 4, 4)
        rows: Rows = self._by_class[pairs.reshape(-1)]
        return rows
