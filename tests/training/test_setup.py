"""What a run decides before its first step."""

import dataclasses
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image
from small_runs import small_settings

from likewise.batches.samplers import make_order
from likewise.data import DataConfig, prepare
from likewise.data.column_kinds import Classes
from likewise.data.columns import Needs
from likewise.errors import ConfigError
from likewise.methods.catalog import methods
from likewise.runs.folder import RunFolder
from likewise.runs.settings import default_settings, read_settings, write_settings
from likewise.training.engine import train
from likewise.training.setup import check_free, prepare_data, with_batch_size


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
    train = prepare(settings.data, image_size=32, needs=Needs("image", "label")).train
    assert len(train) == 48
    assert train.labels is not None
    labels = np.where(np.arange(48) < labelled, np.arange(48) % 5 // 3, -1)
    decided = with_batch_size(
        settings, train.with_columns(label=Classes(labels, train.label_names or [])), world_size
    )
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
    assert ("note: skipped 1 other files: 1 .me.\n" in capsys.readouterr().err) == show


@pytest.mark.parametrize(
    ("method", "section", "ignored", "said"),
    [
        ("clip", "training", {"optimizer": "sgd", "betas": (0.9, 0.999)}, r"betas .* sgd has no such"),
        ("simsiam", "training", {"betas": (0.9, 0.98)}, r"betas .* sgd has no such averages"),
        ("simclr", "training", {"optimizer": "lars", "betas": (0.8, 0.9)}, r"betas .* lars has no such"),
        ("simclr", "training", {"examples_per_class": 2}, r"examples-per-class is 2, .*order shuffled"),
        ("siamese", "training", {"examples_per_class": 2}, r"examples-per-class is 2, .*order pairs"),
        ("clip", "text", {"tokenizer": "there", "vocabulary_size": 500}, "vocabulary-size is 500"),
    ],
)
def test_a_new_run_has_no_options_that_nothing_reads(
    method: str, section: str, ignored: dict[str, Any], said: str, tmp_path: Path
) -> None:
    settings, run = default_settings(method, "scenes"), RunFolder(tmp_path)
    changed = dataclasses.replace(getattr(settings, section), **ignored)
    settings = dataclasses.replace(settings, **{section: changed})
    with pytest.raises(ConfigError, match=rf"^--{section}\.{said}"):
        check_free(run, settings, resume=False)
    write_settings(settings, run.config)  # as one has them that began when they were ignored
    assert check_free(run, read_settings(run.config), resume=True) == settings


@pytest.mark.parametrize("method", sorted(methods()))
@pytest.mark.parametrize("optimizer", ["adamw", "sgd", "lars"])
def test_a_runs_own_settings_start_another(method: str, optimizer: str, tmp_path: Path) -> None:
    settings = default_settings(method, "scenes")
    training = dataclasses.replace(settings.training, optimizer=optimizer)
    settings = dataclasses.replace(settings, training=training)
    write_settings(settings, tmp_path / "config.toml")
    assert check_free(RunFolder(tmp_path / "new"), read_settings(tmp_path / "config.toml"), False) == settings


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"pretrained": "/nowhere/bert"},
            r"text\.pretrained: cannot load '/nowhere/bert' \(there is no such",
        ),
        ({"tokenizer": "/nowhere/bert"}, r"text\.tokenizer: cannot load '/nowhere/bert'"),
    ],
)
def test_the_option_that_names_a_wrong_path_is_named(
    options: dict[str, str], message: str, tmp_path: Path
) -> None:
    settings = small_settings("clip")
    settings = dataclasses.replace(
        settings, text=dataclasses.replace(settings.text, vocabulary_size=8192, **options)
    )
    with pytest.raises(ConfigError, match=message):
        train(settings, tmp_path / "run", show=False)
