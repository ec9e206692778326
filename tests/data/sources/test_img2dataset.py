"""What img2dataset writes: shards or folders of files, with a table of addresses beside each."""

from __future__ import annotations

import io
import json
import tarfile
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from likewise.data import DataConfig, open_source


def write_output(folder: Path, *, tars: bool) -> None:
    folder.mkdir()
    for shard in ("00000", "00001"):
        keys = [f"{shard}{number:04}" for number in range(3)]
        rows = [{"caption": f"of {key}", "url": f"http://a.example/{key}.jpg", "key": key} for key in keys]
        members = {f"{row['key']}.jpg": b"image" for row in rows}
        members |= {f"{row['key']}.txt": row["caption"].encode() for row in rows}
        members |= {f"{row['key']}.json": json.dumps(row).encode() for row in rows}
        if tars:
            with tarfile.open(folder / f"{shard}.tar", "w") as archive:
                for name, data in sorted(members.items()):
                    info = tarfile.TarInfo(name)
                    info.size = len(data)
                    archive.addfile(info, io.BytesIO(data))
        else:
            (folder / shard).mkdir()
            for name, data in members.items():
                (folder / shard / name).write_bytes(data)
        pq.write_table(pa.Table.from_pylist(rows), folder / f"{shard}.parquet")
        (folder / f"{shard}_stats.json").write_text(json.dumps({"count": 3}))


@pytest.mark.parametrize("tars", [True, False])
def test_the_images_are_read_and_not_the_tables_of_addresses(tmp_path: Path, tars: bool) -> None:
    write_output(tmp_path / "out", tars=tars)
    source = open_source(DataConfig(source=str(tmp_path / "out")))
    keys = [f"{shard}{number:04}" for shard in ("00000", "00001") for number in range(3)]
    assert [record.texts for record in source.records] == [(f"of {key}",) for key in keys]
    assert all(record.image is not None and record.image.read() == b"image" for record in source.records)
    assert source.problems == []
    assert {record.label for record in source.records} == {None}  # folders are shards and no classes


def test_a_table_beside_a_folder_of_its_name_is_read(tmp_path: Path) -> None:
    (tmp_path / "train").mkdir()
    (tmp_path / "train" / "1.png").write_bytes(b"")
    (tmp_path / "train.csv").write_text("image,caption\ntrain/1.png,a dog\n")
    assert open_source(DataConfig(source=str(tmp_path))).records[0].texts == ("a dog",)
