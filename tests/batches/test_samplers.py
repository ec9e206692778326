"""Orders of rows: complete, balanced, pure functions of seed and step."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import pytest

from likewise.batches.samplers import Order, make_order, occurrences
from likewise.errors import ConfigError, DataError

LABELS = np.array([0] * 12 + [1] * 7 + [2] * 9 + [-1] * 4 + [3] * 1 + [4] * 15)


def order(kind: Any, labels: np.ndarray | None = LABELS, **options: Any) -> Order:
    settings: dict[str, Any] = {"batch_size": 16, "examples_per_class": 4, "world_size": 1, "seed": 0}
    rows = len(LABELS) if labels is None else len(labels)
    return make_order(kind, labels, num_rows=rows, **(settings | options))


@pytest.mark.parametrize("kind", ["shuffled", "classes", "pairs"])
def test_is_a_function_of_seed_and_step(kind: str) -> None:
    first, second = order(kind), order(kind)
    steps = [5, 0, 3, 5]
    assert [first.rows(step).tolist() for step in steps] == [second.rows(step).tolist() for step in steps]
    assert first.rows(0).tolist() != order(kind, seed=1).rows(0).tolist()
    assert first.rows(0).tolist() != first.rows(first.steps_per_epoch).tolist()
    assert len(first.rows(2)) == 16


def test_shuffled_has_each_row_once_an_epoch() -> None:
    made = order("shuffled", batch_size=12)
    seen = np.concatenate([made.rows(step) for step in range(made.steps_per_epoch)])
    assert len(set(seen.tolist())) == len(seen) == 48


def test_classes_stand_together_and_every_row_appears() -> None:
    labels = np.concatenate([LABELS, [0] * 4])  # 14 times four rows of a class
    made = order("classes", labels, batch_size=8)
    seen: Counter[int] = Counter()
    for step in range(made.steps_per_epoch):
        rows = made.rows(step)
        assert all(len(set(labels[four])) == 1 for four in rows.reshape(-1, 4))
        seen.update(rows.tolist())
    assert set(seen) == set(np.flatnonzero(labels >= 0).tolist())
    # Only what fills up the last four of a class comes again; the class of one is four times itself.
    extra = Counter({row: count - 1 for row, count in seen.items() if count > 1})
    assert sum(extra.values()) == made.steps_per_epoch * 8 - int((labels >= 0).sum())
    assert extra[int(np.flatnonzero(labels == 3)[0])] == 3


def test_a_batch_holds_different_classes_where_there_are_enough() -> None:
    labels = np.repeat(np.arange(40), 12)
    made = order("classes", labels, batch_size=32)
    counts = [len(set(labels[made.rows(step)])) for step in range(made.steps_per_epoch)]
    assert np.mean(counts) > 7  # of 8


def test_pairs_are_half_the_same() -> None:
    made = order("pairs")
    anchors: Counter[int] = Counter()
    for step in range(300):
        first, second = LABELS[made.rows(step).reshape(-1, 2)].T
        assert (first >= 0).all()
        assert (second >= 0).all()
        assert (first == second).tolist() == [True, False] * 4
        pairs = made.rows(step).reshape(-1, 2)
        assert (pairs[:, 0] != pairs[:, 1]).all()
        anchors.update(pairs[::2, 0].tolist())
    # All rows of classes with two rows or more, equally often.
    assert set(anchors) == set(np.flatnonzero((LABELS >= 0) & (LABELS != 3)).tolist())
    assert max(anchors.values()) - min(anchors.values()) <= 1


def test_strangers_come_from_every_class_alike() -> None:
    made = order("pairs")
    strangers = np.concatenate([LABELS[made.rows(step).reshape(-1, 2)[1::2, 1]] for step in range(500)])
    shares = np.bincount(strangers) / len(strangers)
    assert shares.min() > 0.12  # five classes, of 1 to 15 rows
    assert shares.max() < 0.28


IS_TARGET = np.arange(48) >= 30  # 30 source rows, 18 target rows


def two_domains(**options: Any) -> Order:
    return order("domains", is_target=IS_TARGET, **options)


@pytest.mark.parametrize(("share", "sources"), [(0.5, 8), (0.25, 4), (0.01, 2), (0.99, 14)])
def test_each_process_has_its_share_of_each_domain(share: float, sources: int) -> None:
    made = two_domains(source_share=share, world_size=2)
    for step in range(12):
        halves = made.rows(step).reshape(2, 8)
        assert (IS_TARGET[halves] == (np.arange(8) >= sources // 2)).all()


def test_each_domain_has_epochs_of_its_own() -> None:
    made = two_domains()
    assert made.steps_per_epoch == 30 // 8
    steps = np.concatenate([made.rows(step) for step in range(90)])
    source, target = steps[~IS_TARGET[steps]], steps[IS_TARGET[steps]]
    for rows, count in ((source, 30), (target, 18)):
        epochs = rows[: len(rows) // count * count].reshape(-1, count)
        assert all(len(set(epoch.tolist())) == count for epoch in epochs)
        assert epochs[0].tolist() != epochs[1].tolist()
    assert [two_domains().rows(step).tolist() for step in (7, 0)] == [made.rows(s).tolist() for s in (7, 0)]
    assert two_domains(seed=1).rows(0).tolist() != made.rows(0).tolist()


def test_two_domains_must_be_there() -> None:
    for is_target in (None, IS_TARGET & False, IS_TARGET | True):
        with pytest.raises(DataError, match=r"has one domain; name the target with --data\.target"):
            order("domains", is_target=is_target)
    with pytest.raises(ConfigError, match=r"each needs both domains; try --training\.batch-size 4"):
        two_domains(batch_size=2, world_size=2)


def test_what_stands_together_stays_on_one_replica() -> None:
    with pytest.raises(ConfigError, match=r"multiple of 8.*--training.batch-size 8"):
        order("classes", batch_size=12, world_size=2)
    halves = order("classes", batch_size=16, world_size=2).rows(0).reshape(2, -1, 4)
    for half in halves:
        for chunk in half:
            assert len(set(LABELS[chunk])) == 1


def test_a_row_that_comes_again_is_counted() -> None:
    assert occurrences(np.array([7, 3, 7, 7, 0, 3])).tolist() == [0, 0, 1, 2, 0, 1]
    for kind in ("shuffled", "classes", "pairs"):
        made = order(kind)
        for step in range(2 * made.steps_per_epoch):
            rows = made.rows(step)
            named = list(zip(rows.tolist(), occurrences(rows).tolist(), strict=True))
            assert len(set(named)) == len(named)
            assert {row for row, time in named if time == 0} == set(rows.tolist())
    alone = int(np.flatnonzero(LABELS == 3)[0])  # the only one of its class
    made = order("classes", np.concatenate([LABELS, [0] * 4]), batch_size=8)  # leaves no row out
    steps = [made.rows(step) for step in range(made.steps_per_epoch)]
    times = [occurrences(rows)[rows == alone].tolist() for rows in steps if alone in rows]
    assert times == [[0, 1, 2, 3]]


def test_refusals_say_what_to_do() -> None:
    with pytest.raises(ConfigError, match=r"only 48 training rows.*try"):
        order("shuffled", batch_size=64)
    with pytest.raises(ConfigError, match="3 processes cannot share it evenly"):
        order("shuffled", world_size=3)
    for labels in (None, np.full(40, -1), np.zeros(40, np.int64)):
        with pytest.raises(DataError, match="give labels of two classes or more"):
            order("pairs", labels)
    for kind in ("pairs", "classes"):
        with pytest.raises(DataError, match="every class has one"):
            order(kind, np.arange(40))
    with pytest.raises(DataError, match="every class has one"):
        order("classes", np.arange(40), batch_size=64)
    with pytest.raises(ConfigError, match=r"nothing to compare .* --training\.batch-size 12"):
        order("shuffled", batch_size=1)
    with pytest.raises(DataError, match="part has 1"):
        order("shuffled", LABELS[:1], batch_size=1)


@pytest.mark.parametrize(
    ("kind", "labels", "options", "hint"),
    [
        ("classes", LABELS, {"batch_size": 4}, "--training.batch-size 8"),  # a single class
        ("classes", LABELS, {"batch_size": 4, "world_size": 2}, "--training.batch-size 8"),
        ("classes", LABELS, {"batch_size": 12, "world_size": 2}, "--training.batch-size 8"),
        ("classes", LABELS, {"batch_size": 16, "world_size": 3}, "--training.batch-size 12"),
        ("classes", LABELS, {"batch_size": 64}, "--training.batch-size 48"),
        ("classes", LABELS, {"batch_size": 28, "examples_per_class": 20}, "--training.batch-size 40"),
        (
            "classes",
            np.array([0, 0, 1]),
            {"batch_size": 4},
            "fewer --training.examples-per-class or processes",
        ),
        ("classes", np.array([0, 0, 1, -1, -1]), {"examples_per_class": 2}, "--training.batch-size 4"),
        (
            "classes",
            LABELS,
            {"batch_size": 16, "world_size": 14},
            "fewer --training.examples-per-class or processes",
        ),
        ("shuffled", LABELS, {"batch_size": 500}, "--training.batch-size 12"),
        ("shuffled", LABELS, {"batch_size": 500, "world_size": 8}, "--training.batch-size 8"),
        ("shuffled", LABELS, {"batch_size": 16, "world_size": 3}, "--training.batch-size 15"),
        ("shuffled", LABELS, {"batch_size": 1}, "--training.batch-size 12"),
        ("shuffled", LABELS, {"batch_size": 16, "world_size": 64}, "fewer processes, or more rows"),
        ("pairs", LABELS, {"batch_size": 64}, "--training.batch-size 48"),
        ("pairs", LABELS, {"batch_size": 2}, "--training.batch-size 4"),
        ("pairs", np.array([0, 0, 1]), {"batch_size": 2}, "fewer processes, or more labelled rows"),
    ],
)
def test_a_hint_is_followed_by_no_other_refusal(
    kind: str, labels: np.ndarray, options: dict[str, int], hint: str
) -> None:
    with pytest.raises(ConfigError, match=r"try .*") as refused:
        order(kind, labels, **options)
    assert f"try {hint}" in str(refused.value)
    if hint.startswith("--"):
        made = order(kind, labels, **(options | {"batch_size": int(hint.split()[1])}))
        assert made.steps_per_epoch >= 1
        assert len(set(labels[made.rows(0)])) > 1
