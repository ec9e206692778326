"""What a message advises works: the options that it names are accepted by the source that it speaks of."""

from __future__ import annotations

import dataclasses
import io
import re
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from likewise.data import DataConfig, open_source, prepare
from likewise.data.columns import Needs
from likewise.errors import SourceError
from likewise.methods.catalog import methods

# What every column's cell could be.
ROWS: dict[str, list[Any]] = {"x": ["one", "two", "three", "four"]}


def png(number: int) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(np.full((16, 16, 3), 40 * number, np.uint8)).save(stream, "PNG")
    return stream.getvalue()


def write_folder(folder: Path, *, inside: str) -> Path:
    (folder / inside).mkdir(parents=True)
    for number in range(4):
        (folder / inside / f"{number}.png").write_bytes(png(number))
    return folder


def write_shard(path: Path) -> Path:
    with tarfile.open(path, "w") as archive:
        for number in range(4):
            for name, data in ((f"{number}.png", png(number)), (f"{number}.json", b'{"x": "one"}')):
                member = tarfile.TarInfo(name)
                member.size = len(data)
                archive.addfile(member, io.BytesIO(data))
    return path


def write_saved(folder: Path) -> Path:
    folder.mkdir()
    table = pa.table({"image": [png(number) for number in range(4)], **ROWS})
    with pa.OSFile(str(folder / "data.arrow"), "wb") as file, pa.ipc.new_stream(file, table.schema) as writer:
        writer.write_table(table)
    (folder / "state.json").write_text('{"_data_files": [{"filename": "data.arrow"}]}')
    (folder / "dataset_info.json").write_text("{}")
    return folder


def write_sources(root: Path) -> dict[str, Path]:
    """One source of every kind, each without much."""
    (root / "sentences.txt").write_text("one\ntwo\nthree\nfour\n")
    (root / "captions.csv").write_text("caption,x\none,1\ntwo,2\nthree,3\nfour,4\n")
    pq.write_table(pa.table({"image": [png(number) for number in range(4)], **ROWS}), root / "images.parquet")
    return {
        "flat folder": write_folder(root / "flat", inside=""),
        "folder of one class": write_folder(root / "one", inside="cats"),
        "sentences": root / "sentences.txt",
        "table of texts": root / "captions.csv",
        "table of images": root / "images.parquet",
        "shard": write_shard(root / "shard.tar"),
        "saved dataset": write_saved(root / "saved"),
    }


KINDS = ("flat folder", "folder of one class", "sentences", "table of texts", "table of images", "shard")
ALL_NEEDS = {name: method.needs for name, method in methods().items()} | {
    name: Needs(name) for name in ("image_2", "text_2", "answer", "score", "boxes", "domain", "label", "text")
}


@pytest.mark.parametrize("kind", [*KINDS, "saved dataset"])
def test_every_option_that_is_advised_is_accepted(kind: str, tmp_path: Path) -> None:
    source = write_sources(tmp_path)[kind]
    config = DataConfig(source=str(source), cache_dir=str(tmp_path / "cache"))
    column = "x"
    refused = 0
    for needs in ALL_NEEDS.values():
        try:
            prepare(config, image_size=16, needs=needs)
        except SourceError as error:
            refused += 1
            for option in re.findall(r"--data\.([a-z0-9-]+)-column", str(error)):
                name = f"{option.replace('-', '_')}_column"
                open_source(dataclasses.replace(config, **{name: column}), needs)  # type: ignore[arg-type]
    assert refused > 3


@pytest.mark.parametrize("kind", KINDS)
def test_a_split_that_is_asked_for_can_be_given_as_advised(kind: str, tmp_path: Path) -> None:
    config = DataConfig(source=str(write_sources(tmp_path)[kind]), validation_split="dev")
    needs = Needs("text" if kind in ("sentences", "table of texts") else "image")
    with pytest.raises(SourceError, match="no record names a split") as refused:
        prepare(config, image_size=16, needs=needs)
    if "--data.split-column" in str(refused.value):
        open_source(dataclasses.replace(config, split_column="x"), needs)
    else:
        assert "table" not in kind


def test_labels_of_a_folder_are_subfolders(tmp_path: Path) -> None:
    config = DataConfig(source=str(write_folder(tmp_path / "flat", inside="")))
    with pytest.raises(SourceError, match=r"Put the images of each class into a subfolder$"):
        prepare(config, image_size=16, needs=methods()["supcon"].needs)
