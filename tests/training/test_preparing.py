"""What a run decides before its first step."""

import dataclasses

import numpy as np
import pytest
from small_runs import small_settings

from likewise.data import prepare
from likewise.data.order import make_order
from likewise.training.preparing import with_batch_size


@pytest.mark.parametrize(
    ("method", "labelled", "world_size", "expected"),
    [
        ("triplet", 48, 1, 48),
        ("triplet", 10, 1, 12),  # ten rows of two classes are three times four
        ("triplet", 10, 2, 8),
        ("siamese", 10, 1, 48),  # pairs come again
        ("simclr", 10, 1, 48),
    ],
)
def test_a_batch_size_that_nobody_names_is_one_that_works(
    method: str, labelled: int, world_size: int, expected: int
) -> None:
    settings = small_settings(method)
    options = dataclasses.replace(settings.training, batch_size=None, examples_per_class=4)
    settings = dataclasses.replace(settings, training=options)
    train = prepare(settings.data, image_size=32, needs=frozenset({"images", "labels"})).train
    assert len(train) == 48
    assert train.labels is not None
    labels = np.where(np.arange(48) < labelled, np.arange(48) % 5 // 3, -1)
    decided = with_batch_size(settings, dataclasses.replace(train, labels=labels), world_size)
    assert decided.training.batch_size == expected
    order = make_order(
        options.order,
        labels,
        num_rows=48,
        batch_size=expected,
        examples_per_class=4,
        world_size=world_size,
        seed=0,
    )
    assert len(order.rows(0)) == expected
