"""Tables joined by a key: questions with their images and their answers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from likewise.data import DataConfig, Splits, prepare
from likewise.data.columns import Needs
from likewise.data.record import Source
from likewise.data.source_report import inspect_source
from likewise.data.sources.open import open_source
from likewise.errors import SourceError, TooManyBadRecords

NEEDS = Needs("image", "text", "answer")


def encoded(grey: int) -> bytes:
    import io

    buffer = io.BytesIO()
    Image.fromarray(np.full((16, 16, 3), grey, np.uint8)).save(buffer, "PNG")
    return buffer.getvalue()


def write_tables(folder: Path, *, images: int = 3, named: str = "train") -> None:
    """Images 10, 11, ..., each with two questions."""
    keys = [10 + number for number in range(images)]
    cells = [{"bytes": encoded(40 * number), "path": None} for number in range(images)]
    pq.write_table(pa.table({"image": cells, "image_id": keys}), folder / f"{named}_images.parquet")
    rows = [(f"what is {key}?", str(key), key) for key in keys]
    rows += [(f"is it {key}?", "yes", key) for key in keys]
    columns = dict(zip(("question", "answer", "image_id"), map(list, zip(*rows, strict=True)), strict=True))
    pq.write_table(pa.table(columns), folder / f"{named}_questions.parquet")


def config(folder: Path, **options: Any) -> DataConfig:
    given: dict[str, Any] = {
        "source": str(folder / "train_questions.parquet"),
        "images": str(folder / "train_images.parquet"),
        "cache_dir": str(folder / "cache"),
    }
    return DataConfig(**(given | options))


def opened(folder: Path, **options: Any) -> Source:
    return open_source(config(folder, **options), NEEDS)


def prepared(folder: Path, **options: Any) -> Splits:
    return prepare(config(folder, **options), image_size=16, needs=NEEDS)


def test_each_question_has_its_image_which_is_stored_once(tmp_path: Path) -> None:
    write_tables(tmp_path)
    data = prepared(tmp_path, validation_share=0.0).train
    assert len(data) == 6
    greys = [int(image[0, 0, 0]) for image in data.images(range(6))]
    assert greys == [0, 40, 80, 0, 40, 80]
    assert data.texts is not None
    assert data.texts[4] == ("is it 11?",)
    assert data.column("answer").values[1] == (("11", 1.0),)
    assert len(set(data.groups.tolist())) == 3
    assert set(data.column("image").rows.tolist()) == {0, 1, 2}


def test_a_pattern_of_each_joins_parts(tmp_path: Path) -> None:
    write_tables(tmp_path)
    folder = tmp_path / "more"
    folder.mkdir()
    write_tables(folder, images=2)
    for kind in ("images", "questions"):
        table = pq.read_table(folder / f"train_{kind}.parquet")
        shifted = pa.array([key + 100 for key in table["image_id"].to_pylist()])
        table = table.set_column(table.column_names.index("image_id"), "image_id", shifted)
        pq.write_table(table, tmp_path / f"validation_{kind}.parquet")
    splits = prepared(
        tmp_path, source=str(tmp_path / "*_questions.parquet"), images=str(tmp_path / "*_images.parquet")
    )
    assert splits.validation is not None
    assert (len(splits.train), len(splits.validation)) == (6, 4)
    assert [int(image[0, 0, 0]) for image in splits.validation.images(range(4))] == [0, 40, 0, 40]


def test_a_key_of_text_and_one_of_numbers_are_the_same(tmp_path: Path) -> None:
    write_tables(tmp_path)
    (tmp_path / "q.csv").write_text("question,answer,image_id\nwhat?,that,11\nwho?,me,12.0\n")
    records = opened(tmp_path, source=str(tmp_path / "q.csv")).records
    assert [record.image.row for record in records] == [1, 2]  # type: ignore[union-attr]
    assert records[1].place == "q.csv:3"


def test_paths_start_where_the_table_of_images_lies(tmp_path: Path) -> None:
    folder = tmp_path / "photos"
    folder.mkdir()
    (folder / "a.png").write_bytes(encoded(7))
    (folder / "list.csv").write_text("key,file_name\n1,a.png\n")
    (tmp_path / "q.jsonl").write_text('{"key": 1, "question": "what is it?", "answers": ["a", "a", "b"]}\n')
    record = opened(tmp_path, source=str(tmp_path / "q.jsonl"), images=str(folder / "list.csv")).records[0]
    assert record.image is not None
    assert record.image.read() == encoded(7)
    assert record.values["answer"] == (("a", 2 / 3), ("b", 1 / 3))


def test_a_row_without_its_partner_is_a_bad_one(tmp_path: Path) -> None:
    write_tables(tmp_path)
    (tmp_path / "q.csv").write_text("question,answer,image_id\nwhat?,that,11\nwho?,me,99\nhow?,so,\n")
    source = opened(tmp_path, source=str(tmp_path / "q.csv"))
    assert len(source.records) == 1
    assert [(problem.bad.place, problem.bad.reason) for problem in source.problems] == [
        ("q.csv:3", "no row of --data.images has its image_id: 99"),
        ("q.csv:4", "no row of --data.images has its image_id: None"),
    ]
    with pytest.raises(TooManyBadRecords, match=r"no row of --data\.images"):
        prepared(tmp_path, source=str(tmp_path / "q.csv"))


def test_rows_of_parquet_keep_their_numbers(tmp_path: Path) -> None:
    write_tables(tmp_path)
    pq.write_table(pq.read_table(tmp_path / "train_images.parquet").slice(1), tmp_path / "few.parquet")
    source = opened(tmp_path, images=str(tmp_path / "few.parquet"))
    assert [record.place.rpartition(" ")[2] for record in source.records] == ["1", "2", "4", "5"]
    assert [problem.bad.place.rpartition(" ")[2] for problem in source.problems] == ["0", "3"]


@pytest.mark.parametrize(
    ("other", "options", "message"),
    [
        ("name,file_name\n1,a.png\n", {}, "no column in common"),
        ("image_id,file_name\n1,a.png\n1,b.png\n", {}, "'1' comes twice in its column image_id"),
        (
            "image_id,question,file_name\n1,x,a.png\n2,y,b.png\n",
            {},
            "could all be the key; give --data",
        ),
        ("image_id,file_name\n1,a.png\n", {"join_column": "key"}, "join-column key is not in both"),
    ],
)
def test_a_key_that_is_none_is_named(
    tmp_path: Path, other: str, options: dict[str, str], message: str
) -> None:
    write_tables(tmp_path)
    (tmp_path / "images.csv").write_text(other)
    with pytest.raises(SourceError, match=message):
        opened(tmp_path, images=str(tmp_path / "images.csv"), **options)


def test_a_named_key_is_taken(tmp_path: Path) -> None:
    write_tables(tmp_path)
    (tmp_path / "images.csv").write_text("image_id,question,file_name\n11,x,a.png\n12,y,b.png\n")
    (tmp_path / "a.png").write_bytes(encoded(1))
    (tmp_path / "b.png").write_bytes(encoded(2))
    source = opened(tmp_path, images=str(tmp_path / "images.csv"), join_column="image_id")
    assert len(source.records) == 4
    assert source.records[0].texts == ("what is 11?",)


def test_what_is_no_table_is_named(tmp_path: Path) -> None:
    write_tables(tmp_path)
    with pytest.raises(SourceError, match=r"--data\.images .*: there is no such file"):
        opened(tmp_path, images=str(tmp_path / "none.parquet"))
    with pytest.raises(SourceError, match="expected a table"):
        opened(tmp_path, images=str(tmp_path))
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "a.png").write_bytes(encoded(1))
    notes = open_source(config(tmp_path, source=str(tmp_path / "photos")), Needs("image")).notes
    assert any("--data.images is not read" in note for note in notes)


def test_questions_about_one_image_are_no_duplicates(tmp_path: Path) -> None:
    write_tables(tmp_path)
    report = inspect_source(config(tmp_path))
    assert (report.num_images, report.num_texts) == (3, 6)
    assert report.exact_duplicates == []
