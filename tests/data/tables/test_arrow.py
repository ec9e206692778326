"""Arrow and Parquet files: layouts of bytes, and damage."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from likewise.data import DataConfig, Source, open_source
from likewise.data.files import read_start, read_whole
from likewise.data.tables.parquet import _rows_of_groups
from likewise.errors import SourceError

CELLS = [bytes([number]) * 20 for number in range(4)]


def opened(path: Path) -> Source:
    return open_source(DataConfig(source=str(path)))


def write_arrow(path: Path, table: pa.Table) -> Path:
    with pa.OSFile(str(path), "wb") as file, pa.ipc.new_file(file, table.schema) as writer:
        writer.write_table(table)
    return path


@pytest.mark.parametrize(
    "images",
    [
        pa.array(CELLS, pa.binary_view()),
        pa.array(CELLS, pa.large_binary()),
        pa.array(CELLS, pa.binary(20)),
        pa.array(CELLS, pa.binary()).dictionary_encode(),
        pa.array([{"bytes": cell, "path": None} for cell in CELLS]),
    ],
    ids=lambda images: str(images.type),
)
@pytest.mark.parametrize("suffix", ["arrow", "parquet"])
def test_images_in_any_layout_of_bytes(tmp_path: Path, images: pa.Array, suffix: str) -> None:
    texts = pa.array([f"a dog {number}" for number in range(4)], pa.string_view())
    table, path = pa.table({"image": images, "caption": texts}), tmp_path / f"t.{suffix}"
    write_arrow(path, table) if suffix == "arrow" else pq.write_table(table, path)
    records = opened(path).records
    assert [record.image.read() for record in records if record.image is not None] == CELLS
    assert [record.texts for record in records] == [(f"a dog {number}",) for number in range(4)]


@pytest.mark.parametrize("listed", [False, True])
def test_damaged_offsets_of_an_arrow_file_are_an_error(tmp_path: Path, listed: bool) -> None:
    """pyarrow trusts them: the process would end by SIGSEGV."""
    texts = [f"{number:03} texts" for number in range(100)]
    table = pa.table({"caption": [[text] for text in texts] if listed else texts})
    path = write_arrow(tmp_path / "t.arrow", table)
    assert len(opened(path).records) == 100
    offsets = np.arange(0, 9 * 101, 9, dtype=np.int32)
    whole = path.read_bytes()
    assert offsets.tobytes() in whole
    for value in (1 << 24, -9):
        offsets[50] = value
        path.write_bytes(whole.replace(np.arange(0, 9 * 101, 9, dtype=np.int32).tobytes(), offsets.tobytes()))
        with pytest.raises(SourceError, match=r"t\.arrow: no readable Arrow file: .*ffset"):
            opened(path)


def test_text_of_another_encoding_in_an_arrow_file_is_a_bad_record(tmp_path: Path) -> None:
    texts = pa.array([b"caf\xe9", b"a dog on the grass", b"a cat on it"]).view(pa.string())
    source = opened(write_arrow(tmp_path / "t.arrow", pa.table({"caption": texts})))
    assert [record.texts for record in source.records][1:] == [("a dog on the grass",), ("a cat on it",)]
    assert [problem.bad.place for problem in source.problems] == ["t.arrow row 0"]


@pytest.mark.parametrize(("values", "total"), [((3, 2), 5), ((3, 3), 7)])
def test_parquet_counts_that_contradict_one_another_are_an_error(values: tuple[int, ...], total: int) -> None:
    def group(count: int) -> Any:
        chunk = SimpleNamespace(path_in_schema="caption", num_values=count)
        return SimpleNamespace(num_rows=3, num_columns=1, column=lambda index: chunk)

    groups = list(map(group, values))
    metadata = SimpleNamespace(num_row_groups=2, row_group=groups.__getitem__, num_rows=total)
    with pytest.raises(ValueError, match="contradict"):
        _rows_of_groups(metadata)
    metadata.num_rows, groups[1] = 6, group(3)
    assert _rows_of_groups(metadata) == [3, 3]


def test_class_names_of_another_shape_are_ignored(tmp_path: Path) -> None:
    for written in (
        b"{",
        b"[]",
        b'{"info": 3}',
        b'{"info": {"features": {"label": {"_type": "ClassLabel"}}}}',
    ):
        table = pa.table({"caption": ["a dog on the grass"], "label": [1]})
        table = table.replace_schema_metadata({b"huggingface": written})
        assert opened(write_arrow(tmp_path / "t.arrow", table)).records[0].label == "1"


def test_zstandard_is_unpacked(tmp_path: Path) -> None:
    content = b"image,caption\n1.png,a dog\n" * 1000
    packed = pa.compress(content, codec="zstd", asbytes=True)
    path = tmp_path / "t.csv.zst"
    path.write_bytes(packed)
    assert read_whole(str(path), decompress=True) == content
    assert read_start(str(path), 5) == b"image"
    for wrong in (packed[: len(packed) // 2], b"no zstandard"):
        path.write_bytes(wrong)
        with pytest.raises(SourceError, match=r"t\.csv\.zst: cannot be decompressed"):
            read_whole(str(path), decompress=True)
