"""Files that are no regular files, and links that lead outside."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pyarrow as pa
import pytest

from likewise.data import DataConfig, Source, open_source
from likewise.errors import SourceError


def opened(path: Path | str, *, follow_links: bool = False) -> Source:
    return open_source(DataConfig(source=str(path), follow_links=follow_links))


@pytest.mark.timeout(20)
@pytest.mark.parametrize(
    "name", ["t.csv", "t.csv.gz", "t.jsonl", "t.parquet", "t.arrow", "s.tar", "s.txt", "s.txt.xz"]
)
def test_a_fifo_or_device_is_refused_at_once(tmp_path: Path, name: str) -> None:
    os.mkfifo(tmp_path / name)
    with pytest.raises(SourceError, match=r"not a regular file"):
        opened(tmp_path / name)
    (tmp_path / name).unlink()
    (tmp_path / name).symlink_to("/dev/zero")
    with pytest.raises(SourceError, match=r"not a regular file"):
        opened(tmp_path / name)


@pytest.mark.timeout(20)
def test_a_caption_file_that_is_a_fifo_or_too_large_is_a_bad_caption(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("0", "1", "2"):
        (tmp_path / f"{name}.png").write_bytes(b"")
    os.mkfifo(tmp_path / "0.txt")
    (tmp_path / "1.txt").write_text("a caption of more than ten bytes")
    (tmp_path / "2.txt").write_text("short")
    monkeypatch.setattr("likewise.data.sources.image_folder.MAX_CAPTION_BYTES", 10)
    source = opened(tmp_path)
    assert [record.texts for record in source.records] == [(), (), ("short",)]
    reasons = {problem.bad.place: problem.bad.reason for problem in source.problems}
    assert reasons["0.txt"].startswith("not a file")
    assert reasons["1.txt"] == "32 bytes, too long for a file of captions"


@pytest.mark.parametrize("name", ["t.csv", "metadata.csv", "s.tar"])
def test_tables_and_shards_of_a_folder_follow_the_rule_of_links(tmp_path: Path, name: str) -> None:
    (tmp_path / "far").write_text("caption\na dog\n")
    (tmp_path / "d").mkdir()
    (tmp_path / "d" / name).symlink_to(tmp_path / "far")
    with pytest.raises(SourceError, match=rf"{name}: a symbolic link leads outside .*data\.follow_links"):
        opened(tmp_path / "d")
    if name != "s.tar":
        assert len(opened(tmp_path / "d", follow_links=True).records) == 1
        assert len(opened(tmp_path / "d" / name).records) == 1  # named by the user


def save_dataset(folder: Path) -> None:
    folder.mkdir()
    table = pa.table({"caption": ["a dog", "a cat"]})
    with pa.OSFile(str(folder / "data.arrow"), "wb") as file, pa.ipc.new_stream(file, table.schema) as stream:
        stream.write_table(table)
    (folder / "state.json").write_text(json.dumps({"_data_files": [{"filename": "data.arrow"}]}))


@pytest.mark.parametrize("name", ["state.json", "data.arrow"])
def test_saved_datasets_follow_the_rule_of_links(tmp_path: Path, name: str) -> None:
    save_dataset(tmp_path / "d")
    assert len(opened(tmp_path / "d").records) == 2
    (tmp_path / "d" / name).rename(tmp_path / name)
    (tmp_path / "d" / name).symlink_to(tmp_path / name)
    with pytest.raises(SourceError, match=rf"{name}: a symbolic link leads outside"):
        opened(tmp_path / "d")
    assert len(opened(tmp_path / "d", follow_links=True).records) == 2


def test_files_that_a_saved_dataset_names_must_lie_within_it(tmp_path: Path) -> None:
    save_dataset(tmp_path / "d")
    (tmp_path / "d" / "data.arrow").rename(tmp_path / "data.arrow")
    for outside in ("../data.arrow", str(tmp_path / "data.arrow")):
        (tmp_path / "d" / "state.json").write_text(json.dumps({"_data_files": [{"filename": outside}]}))
        with pytest.raises(SourceError, match="the path leads outside"):
            opened(tmp_path / "d")
