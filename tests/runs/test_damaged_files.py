"""Files that are damaged, ill-typed, or that the disk does not take or give: one line that names the file."""

from __future__ import annotations

import contextlib
import json
import resource
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from likewise.atomic_files import written_whole
from likewise.data import BadRecord
from likewise.encoders.tokenizer import train_tokenizer
from likewise.errors import ConfigError, LikewiseError, ModelError, WriteError
from likewise.model import load
from likewise.model.embedding_table import EmbeddingTable
from likewise.reporting.curves import training_charts
from likewise.reporting.sheets.sheet import save_image
from likewise.runs.folder import RunFolder
from likewise.runs.settings import default_settings, read_settings, write_settings
from likewise.training.checkpoints import save_checkpoint

DEEP = "[" * 100_000


@contextlib.contextmanager
def full_disk() -> Iterator[None]:
    """Inside, no file can grow beyond 100 bytes."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def write_tokenizer(path: Path) -> None:
    tokenizer = train_tokenizer(["a red bus", "a blue car"], vocabulary_size=300, max_tokens=8)
    with full_disk(), written_whole(path) as beside:
        tokenizer.save(beside)


def write_embeddings(path: Path) -> None:
    vectors = np.ones((50, 8), np.float32)
    EmbeddingTable(ids=["a"] * 50, texts=[""] * 50, vectors=vectors).write(path)


def write_sheet(path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 255, (64, 64, 3), dtype=np.uint8)
    save_image(Image.fromarray(pixels), path)


WRITERS: dict[str, Callable[[Path], object]] = {
    "results.json": lambda path: RunFolder(path.parent).add_results(
        "probe", {"accuracy": 0.5, "name": "x" * 200}
    ),
    "metrics.jsonl": lambda path: RunFolder(path.parent).cut_metrics(100, finished=False),
    "bad_records.jsonl": lambda path: RunFolder(path.parent).write_bad_records(
        [BadRecord("a", "row 1", "b" * 200)]
    ),
    "config.toml": lambda path: write_settings(default_settings("clip", "scenes"), path),
    "tokenizer.json": write_tokenizer,
    "sheet.png": write_sheet,
    "vectors.parquet": write_embeddings,
    "vectors.npy": write_embeddings,
    "step-00000007.ckpt": lambda path: save_checkpoint(path.parent, 7, {"step": 7, "a": torch.zeros(100)}),
}


@pytest.mark.parametrize("name", WRITERS)
def test_a_file_is_replaced_whole_or_not_at_all(name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    old = b'{"kind": "train", "step": 1}\n' * 9 if name == "metrics.jsonl" else b"{}"
    path.write_bytes(old)
    with (
        pytest.raises(
            LikewiseError, match=rf"{name} (was not|cannot be) written \(.*File too large"
        ) as caught,
        full_disk() if name != "tokenizer.json" else contextlib.nullcontext(),
    ):
        WRITERS[name](path)
    assert "make room there" in str(caught.value).lower()
    assert path.read_bytes() == old
    assert [file.name for file in tmp_path.iterdir()] == [name]


def test_a_folder_that_is_gone_is_named(tmp_path: Path) -> None:
    said = r"absent.a\.txt was not written \(No such file or directory\)\."
    with pytest.raises(WriteError, match=said), written_whole(tmp_path / "absent" / "a.txt") as beside:
        beside.write_text("a")


def test_vectors_that_are_not_finite_are_refused_by_their_first_row(tmp_path: Path) -> None:
    vectors = np.ones((3, 2), np.float32)
    vectors[1:, 1] = np.nan
    table = EmbeddingTable(ids=["a", "b\x1b", "c"], texts=[""] * 3, vectors=vectors)
    with pytest.raises(
        ModelError, match=r"of 2 of 3 rows are not finite, first that of b\\x1b; .*not written"
    ):
        table.write(tmp_path / "vectors.npy")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("content", [DEEP, '{"a": ' * 100_000, '{"retrieval": 5}', '{"retrieval": null}'])
def test_results_that_are_deep_or_ill_typed(content: str, tmp_path: Path) -> None:
    run = RunFolder(tmp_path)
    run.results.write_text(content)
    for read in (run.read_results, lambda: run.add_results("probe", {})):
        with pytest.raises(ModelError, match=r"results\.json is damaged"):
            read()
    assert run.results.read_text() == content


def test_curves_that_are_deep_or_ill_typed(tmp_path: Path) -> None:
    run = RunFolder(tmp_path)
    line = {"kind": "train", "step": 2, "loss": 0.5}
    huge = "1" + "0" * 400
    lines = [DEEP, f'{{"kind": "train", "step": {huge}, "loss": 1}}', json.dumps(line | {"loss": [{}]})]
    run.metrics.write_text(
        "\n".join([*lines, f'{{"kind": "train", "step": 1, "loss": {huge}}}', json.dumps(line)])
    )
    assert [found["step"] for found in run.read_metrics()] == [2, 1, 2]
    assert training_charts(run.read_metrics())


@pytest.mark.parametrize("content", [f"a = {DEEP}", f"a = {'9' * 5000}", "a = " + "{b = " * 100_000])
def test_a_configuration_that_is_deep_or_too_long(content: str, tmp_path: Path) -> None:
    (tmp_path / "config.toml").write_text(content)
    with pytest.raises(ConfigError, match=r"config\.toml is not"):
        read_settings(tmp_path / "config.toml")


def test_a_model_whose_config_is_deep(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(DEEP)
    (tmp_path / "model.safetensors").touch()
    with pytest.raises(ModelError, match=r"config\.json cannot be read"):
        load(tmp_path)


def test_a_failing_disk_names_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = RunFolder(tmp_path)
    for path in (run.results, run.metrics, run.config):
        path.touch()

    def fail(self: Path, *_: object, **__: object) -> str:
        raise OSError(5, "Input/output error")  # as `read` does, without a file's name

    monkeypatch.setattr(Path, "read_text", fail)
    for name, read in (
        ("results.json", run.read_results),
        ("metrics.jsonl", run.read_metrics),
        ("config.toml", lambda: read_settings(run.config)),
    ):
        with pytest.raises(LikewiseError, match=rf"{name} cannot be read.*Input/output error"):
            read()
