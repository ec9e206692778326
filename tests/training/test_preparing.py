"""What a run decides before its first step."""

import dataclasses
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image
from small_runs import small_settings

from likewise.data import DataConfig, prepare
from likewise.data.order import make_order
from likewise.training.preparing import prepare_data, with_batch_size
from likewise.training.run import RunFolder


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


@pytest.mark.parametrize("show", [True, False])
def test_what_was_assumed_of_the_data_is_printed(
    show: bool, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "photos").mkdir()
    for number in range(4):
        Image.new("RGB", (20, 20), (60 * number, 90, 30)).save(tmp_path / f"photos/{number}.png")
    (tmp_path / "photos" / "read.me").touch()
    data = DataConfig(source=str(tmp_path / "photos"), cache_dir=str(tmp_path / "cache"))
    settings = dataclasses.replace(small_settings("simclr"), data=data)
    fabric = SimpleNamespace(rank_zero_first=nullcontext, is_global_zero=True, barrier=lambda: None)
    prepare_data(settings, RunFolder(tmp_path / "run"), fabric, show)
    assert ("note: passed over 1 other files: 1 .me.\n" in capsys.readouterr().err) == show
