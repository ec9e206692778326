"""Every kind of source, as users have them."""

from __future__ import annotations

import csv
import gzip
import io
import json
import math
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from likewise.data import DataConfig, Source, Splits, open_source, prepare
from likewise.data.columns import OPTIONAL, Needs
from likewise.errors import ConfigError, SourceError
from likewise.messages import flag


def png(seed: int, size: int = 24) -> bytes:
    noise = np.random.default_rng(seed).integers(0, 256, (size, size, 3), dtype=np.uint8)
    stream = io.BytesIO()
    Image.fromarray(noise).save(stream, "PNG")
    return stream.getvalue()


def write_images(folder: Path, names: list[str]) -> None:
    for number, name in enumerate(names):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(png(number))


def opened(source: Path | str, **options: Any) -> Source:
    return open_source(DataConfig(source=str(source), **options))


def prepared(
    source: Path | str, cache: Path, *needs: str, also: tuple[str, ...] = (), **options: Any
) -> Splits:
    config = DataConfig(source=str(source), cache_dir=str(cache / "cache"), **options)
    wanted = Needs(*(needs or ("image",)), **dict.fromkeys(also, OPTIONAL))
    return prepare(config, image_size=16, needs=wanted)


def texts_by_id(source: Source) -> dict[str, tuple[str, ...]]:
    return {record.id: record.texts for record in source.records}


# Folders of images


def test_class_folders_give_labels_and_subfolders_splits(tmp_path: Path) -> None:
    parts = [
        f"{part}/{label}/{i}.png" for part in ("train", "val") for label in ("cat", "dog") for i in (1, 2)
    ]
    write_images(tmp_path / "pets", [*parts, "train/cat/.hidden.png"])
    (tmp_path / "pets" / "notes.md").write_text("not an image")
    source = opened(tmp_path / "pets")
    assert source.kind == "folder of images"
    assert source.splits_from == "subfolders"
    assert [(r.label, r.split) for r in source.records[:3]] == [
        ("cat", "train"),
        ("cat", "train"),
        ("dog", "train"),
    ]
    assert source.notes == ["skipped 1 other files: 1 .md"]
    splits = prepared(tmp_path / "pets", tmp_path, "image", "label")
    assert splits.train.label_names == ["cat", "dog"]
    assert splits.validation is not None
    assert splits.validation.labels is not None
    assert splits.validation.labels.tolist() == [0, 0, 1, 1]


def test_folders_that_all_images_share_hide_neither_splits_nor_classes(tmp_path: Path) -> None:
    names = [f"wrap/dataset/{part}/{label}/1.png" for part in ("train", "val") for label in "ab"]
    write_images(tmp_path / "d", names)
    source = opened(tmp_path / "d")
    assert source.splits_from == "subfolders"
    assert [(r.split, r.label) for r in source.records] == [(p, a) for p in ("train", "val") for a in "ab"]
    assert [record.id for record in source.records] == names  # names are as they were
    assert source.notes == ["all images lie below wrap/dataset/, so splits and classes are looked for there"]
    write_images(tmp_path / "alone", ["train/a/1.png", "train/b/deep/2.png"])
    source = opened(tmp_path / "alone")
    assert (source.splits_from, source.columns["label"]) == (None, "subfolder")
    assert [(r.id, r.split, r.label) for r in source.records] == [
        ("train/a/1.png", None, "a"),
        ("train/b/deep/2.png", None, "b"),
    ]


@pytest.mark.parametrize("names", [["dogs/1.png", "dogs/2.png"], ["dogs/1.png", "dogs/old/2.png"]])
def test_a_folder_of_one_class_has_no_labels(tmp_path: Path, names: list[str]) -> None:
    write_images(tmp_path / "d", names)
    source = opened(tmp_path / "d")
    assert [(r.id, r.split, r.label) for r in source.records] == [(name, None, None) for name in names]
    assert source.notes == ["all images lie in dogs/: only one class, so no labels"]


def test_one_class_in_each_part_is_none(tmp_path: Path) -> None:
    write_images(tmp_path / "d", ["w/train/img/1.png", "w/val/img/2.png"])
    source = opened(tmp_path / "d")
    assert [(record.split, record.label) for record in source.records] == [("train", None), ("val", None)]
    assert source.notes[1:] == ["all images lie in img/: only one class, so no labels"]


def test_a_test_folder_is_left_alone(tmp_path: Path) -> None:
    write_images(tmp_path / "pets", [f"{part}/{i}.png" for part in ("train", "test") for i in range(5)])
    splits = prepared(tmp_path / "pets", tmp_path)
    assert splits.validation is not None
    assert all(name.startswith("train/") for name in splits.train.ids + splits.validation.ids)


def test_a_flat_folder_has_no_labels_and_captions_may_lie_beside_the_images(tmp_path: Path) -> None:
    write_images(tmp_path / "flat", ["images/1.png", "images/2.png"])
    (tmp_path / "flat" / "images" / "1.txt").write_text("a first caption\na second\n", encoding="utf-8")
    source = opened(tmp_path / "flat")
    assert [record.label for record in source.records] == [None, None]
    assert source.records[0].texts == ("a first caption", "a second")


def test_linked_folders_are_told_of_and_entered_where_links_are_followed(tmp_path: Path) -> None:
    write_images(tmp_path / "far", ["cat/1.png", "dog/deep/2.png"])
    pets = tmp_path / "pets"
    pets.mkdir()
    for name in ("cat", "dog"):
        (pets / name).symlink_to(tmp_path / "far" / name)
    told = "linked folders that were not entered: 2 (cat, dog); --data.follow-links enters them"
    with pytest.raises(SourceError, match="the folder is empty; ") as caught:
        opened(pets)
    assert str(caught.value).endswith(told)
    followed = opened(pets, follow_links=True)
    assert {record.id: record.label for record in followed.records} == {
        "cat/1.png": "cat",
        "dog/deep/2.png": "dog",
    }
    assert (followed.problems, followed.notes) == ([], [])
    write_images(pets, ["bird/3.png"])
    assert told in opened(pets).notes
    (pets / "bird" / "3.png").rename(pets / "bird" / "3.docx")
    with pytest.raises(SourceError, match="only files ending in docx; linked folders"):
        opened(pets)


def test_linked_folders_that_lead_back_are_entered_once(tmp_path: Path) -> None:
    write_images(tmp_path / "pets", ["cat/1.png", "dog/2.png"])
    (tmp_path / "pets" / "cat" / "back").symlink_to(tmp_path / "pets")
    (tmp_path / "pets" / "up").symlink_to(tmp_path)
    (tmp_path / "pets" / "tom").symlink_to("cat")  # another name of a folder, which leads nowhere back
    write_images(tmp_path, ["beside.png"])
    source = opened(tmp_path / "pets", follow_links=True)
    assert [record.id for record in source.records] == [
        "cat/1.png",
        "dog/2.png",
        "tom/1.png",
        "up/beside.png",
    ]


# Tables


def write_csv(path: Path, rows: list[list[str]], **options: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "w", newline="", encoding="utf-8") as stream:
        csv.writer(stream, **options).writerows(rows)
    return path


def test_several_rows_an_image_become_one_record(tmp_path: Path) -> None:
    write_images(tmp_path, ["1.png", "2.png"])
    rows = [
        ["image", "caption"],
        ["1.png", "one, with a comma"],
        ["2.png", "two"],
        ["./1.png", 'a "second"\none'],
    ]
    source = opened(write_csv(tmp_path / "captions.csv", rows))
    assert texts_by_id(source) == {"1.png": ("one, with a comma", 'a "second"\none'), "2.png": ("two",)}
    assert [record.place for record in source.records] == ["captions.csv:2", "captions.csv:3"]


@pytest.mark.parametrize(
    ("header", "row"),
    [
        (["file_name", "caption_0", "caption_1"], ["1.png", "one", "two"]),
        (["photo", "text"], ["1.png", '["one", "two"]']),
        (["photo", "text"], ["1.png", "['one', 'two']"]),  # as pandas writes a list
        (["photo", "text"], ["1.png", "['one', \"two\"] "]),
        (["图片", "描述"], ["1.png", "one|two"]),
    ],
)
def test_several_captions_a_row(tmp_path: Path, header: list[str], row: list[str]) -> None:
    write_images(tmp_path, ["1.png"])
    source = opened(write_csv(tmp_path / "t.csv", [header, row]), text_separator="|")
    assert source.records[0].texts == ("one", "two")


def test_a_row_may_have_fewer_captions_than_columns_for_them(tmp_path: Path) -> None:
    write_images(tmp_path, ["1.png", "2.png", "3.png"])
    rows = [["1.png", "one", "", "two"], ["2.png", "  ", "three|", ""], ["3.png", "", " ", " | "]]
    table = write_csv(tmp_path / "t.csv", [["image", "caption_0", "caption_1", "caption_2"], *rows])
    source = opened(table, text_separator="|")
    assert texts_by_id(source) == {"1.png": ("one", "two"), "2.png": ("three",), "3.png": ()}
    assert [(p.bad.id, p.bad.place, p.bad.reason) for p in source.problems] == [
        ("3.png", "t.csv:4", "empty caption")
    ]


def test_blank_lines_beside_a_picture_and_in_shards_are_no_captions(tmp_path: Path) -> None:
    members = {f"{n}.txt": text for n, text in enumerate([b"\none\n \n\ntwo\n\n", b" \n\n", b""])}
    write_images(tmp_path / "d", ["0.png", "1.png", "2.png"])
    for name, text in members.items():
        (tmp_path / "d" / name).write_bytes(text)
    source = opened(tmp_path / "d")
    assert texts_by_id(source) == {"0.png": ("one", "two"), "1.png": (), "2.png": ()}
    assert [p.bad.place for p in source.problems] == ["1.txt:1", "2.txt:1"]
    assert {p.bad.reason for p in source.problems} == {"empty caption"}
    members = {
        "0.png": png(0),
        "0.txt": b"\n",
        "0.json": b'{"caption": "three"}',
        "1.png": png(1),
        "1.txt": b"",
    }
    source = opened(write_tar(tmp_path / "s.tar", members))
    assert texts_by_id(source) == {"s.tar/0": ("three",), "s.tar/1": ()}
    assert [(p.bad.id, p.bad.reason) for p in source.problems] == [("s.tar/1", "empty caption")]


@pytest.mark.parametrize("text", ["['one', two]", "['one'] + ['two']", "['a quote' in front] of a text]"])
def test_what_is_no_list_is_a_text(tmp_path: Path, text: str) -> None:
    write_images(tmp_path, ["1.png"])
    source = opened(write_csv(tmp_path / "t.csv", [["photo", "text"], ["1.png", text]]))
    assert source.records[0].texts == (text,)


def test_whole_numbers_have_one_name_in_all_tables(tmp_path: Path) -> None:
    """pandas makes floats of a column of whole numbers that has an empty cell."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    (tmp_path / "t").mkdir()
    images = [{"bytes": png(value), "path": None} for value in range(6)]
    for name, numbers in {
        "train": [0, 1, 0, 1, 10, 10],
        "validation": [0.0, 1.0, None, 1.0, 10.0, 0.5],
    }.items():
        table = pa.table({"image": images, "label": numbers, "image_id": numbers})
        pq.write_table(table, tmp_path / "t" / f"{name}.parquet")
    records = opened(tmp_path / "t", group_column="image_id").records
    assert [record.label for record in records[6:]] == ["0", "1", None, "1", "10", "0.5"]
    assert {record.label for record in records[:6]} == {"0", "1", "10"}
    assert [record.group for record in records[6:]] == ["0", "1", None, "1", "10", "0.5"]


def test_space_around_a_cell_makes_no_other_name_of_it(tmp_path: Path) -> None:
    write_images(tmp_path, ["1.png", "2.png"])
    header = ["image", "caption", "label", "group", "split", "domain", "id"]
    rows = [
        ["1.png", "one", "a", "g", "train", "d", "x"],
        [" 2.png ", "two", " a ", " g", "train ", "\td", " y"],
        ["1.png ", "three", " a", "g ", " train", "d ", "x"],
        ["2.png", "four", "  ", "  ", "  ", "  ", "  "],
    ]
    records = opened(write_csv(tmp_path / "t.csv", [header, *rows])).records
    assert [record.id for record in records] == ["x", "y", "2.png"]
    assert [record.texts for record in records] == [("one", "three"), ("two",), ("four",)]
    names = [(record.label, record.group, record.split, record.domain) for record in records]
    assert names == [("a", "g", "train", "d")] * 2 + [(None, None, None, None)]


def test_columns_of_any_name_are_recognised_by_content_or_named(tmp_path: Path) -> None:
    write_images(tmp_path, ["1.png", "2.png"])
    rows = [["A", "B", "C"], ["x", "1.png", "a dog on the grass"], ["y", "2.png", "a cat on the sofa"]]
    path = write_csv(tmp_path / "t.csv", rows, delimiter=";")
    assert opened(path).columns == {"image": "B", "text": "C"}
    assert opened(path, label_column="A").records[0].label == "x"
    with pytest.raises(SourceError, match=r"no column 'D'.*A, B, C"):
        opened(path, text_column="D")
    with pytest.raises(SourceError, match="did you mean 'caption'"):
        opened(write_csv(tmp_path / "u.csv", [["image", "caption"], ["1.png", "x"]]), text_column="captoin")


def test_a_table_without_header_is_understood(tmp_path: Path) -> None:
    write_images(tmp_path, ["1.png", "2.png"])
    source = opened(
        write_csv(tmp_path / "t.csv", [["1.png", "a dog on the grass"], ["2.png", "a cat on it"]])
    )
    assert texts_by_id(source) == {"1.png": ("a dog on the grass",), "2.png": ("a cat on it",)}


def test_columns_without_name_and_content_are_passed_over(tmp_path: Path) -> None:
    write_images(tmp_path, ["1.png", "2.png"])
    rows = [["image", "caption", "", " "], ["1.png", "one", "", " "], ["2.png", "two", "", ""]]
    for end in ("csv", "tsv"):
        path = write_csv(tmp_path / f"t.{end}", rows, delimiter="\t" if end == "tsv" else ",")
        source = opened(path)
        assert texts_by_id(source) == {"1.png": ("one",), "2.png": ("two",)}
        assert (source.columns_found, source.problems) == (["image", "caption"], [])
    numbered = [["", "image", "caption"], ["0", "1.png", "one"]]  # as pandas writes the numbers of rows
    assert opened(write_csv(tmp_path / "n.csv", numbered)).columns_found == ["", "image", "caption"]
    rows[1][2:] = ["x", "y"]
    with pytest.raises(SourceError, match=r"have the same name: image, caption, \(no name\), \(no name\)"):
        opened(write_csv(tmp_path / "t.csv", rows))


def test_tsv_with_loose_quotes(tmp_path: Path) -> None:
    path = tmp_path / "t.tsv"
    path.write_text('label\tsentence\na\t"Stop" he said\nb\t"a ""quoted"" field"\n', encoding="utf-8")
    assert [record.texts for record in opened(path).records] == [('"Stop" he said',), ('a "quoted" field',)]


def test_rows_that_label_the_same_image_differently_stay_apart_but_share_a_group(tmp_path: Path) -> None:
    write_images(tmp_path, ["1.png", "2.png"])
    rows = [
        ["image", "hypothesis", "label"],
        ["1.png", "a dog", "yes"],
        ["1.png", "a cat", "no"],
        ["2.png", "x", "no"],
    ]
    splits = prepared(
        write_csv(tmp_path / "t.csv", rows), tmp_path, "image", "text", "label", max_bad_share=0.0
    )
    parts = [part for part in (splits.train, splits.validation) if part is not None]
    groups = {name: int(group) for part in parts for name, group in zip(part.ids, part.groups, strict=True)}
    assert set(groups) == {"1.png", "1.png#2", "2.png"}
    assert groups["1.png"] == groups["1.png#2"] != groups["2.png"]


def test_scored_sentence_pairs_are_no_captions_of_each_other(tmp_path: Path) -> None:
    path = tmp_path / "pairs.tsv"
    path.write_text("sentence1\tsentence2\tscore\nA plane.\tA dog.\t0.0\n")
    assert [record.texts for record in opened(path).records] == [("A plane.",), ("A dog.",)]
    path.write_text("sentence1\tsentence2\tscore\nA plane.\t\t0.0\n")
    assert [p.bad.reason for p in opened(path).problems] == ["empty caption"]


def test_several_sentence_columns_must_be_named(tmp_path: Path) -> None:
    path = tmp_path / "triplets.tsv"
    path.write_text("premise\tentailment\na man walks a dog\ta man is outside\n")
    with pytest.raises(SourceError, match=r"premise, entailment.*--data\.text-column"):
        opened(path)
    assert len(opened(path, text_column="premise,entailment").records[0].texts) == 2


def test_json_lines_with_lists_and_bad_lines(tmp_path: Path) -> None:
    write_images(tmp_path, ["1.png", "2.png"])
    lines = [json.dumps({"image": "1.png", "captions": ["one", "two"]}), "{broken", '"text"', ""]
    lines.append(json.dumps({"image": "2.png", "captions": ["\ud800 broken sign", ""]}))
    (tmp_path / "t.jsonl").write_text("\n".join(lines))
    source = opened(tmp_path / "t.jsonl")
    assert texts_by_id(source) == {"1.png": ("one", "two"), "2.png": ()}
    reasons = [(p.bad.place, p.bad.reason.split(":")[0]) for p in source.problems]
    assert reasons == [
        ("t.jsonl:2", "no valid JSON"),
        ("t.jsonl:3", "a JSON object was expected, got str"),
        ("t.jsonl:5", "wrong encoding"),
        ("t.jsonl:5", "empty caption"),
    ]


def test_a_table_of_broken_lines_alone_says_so(tmp_path: Path) -> None:
    (tmp_path / "t.jsonl").write_text('{"image": \n{broken\n')
    with pytest.raises(SourceError, match=r"none of its 2 lines.*first: t\.jsonl:1: no valid JSON"):
        opened(tmp_path / "t.jsonl")


@pytest.mark.parametrize("indent", [None, 1])
def test_a_json_object_that_holds_the_rows_gets_a_hint(tmp_path: Path, indent: int | None) -> None:
    rows = [{"image": "1.png", "caption": "a dog"}, {"image": "2.png", "caption": "a cat"}]
    (tmp_path / "t.json").write_text(json.dumps({"version": 1, "data": rows}, indent=indent))
    with pytest.raises(SourceError, match=r"among version, data; .*the list 'data' in it: save that list"):
        opened(tmp_path / "t.json")
    by_path = {f"{n}.png": f"a caption of picture {n}" for n in range(3000)}
    (tmp_path / "t.json").write_text(json.dumps(by_path, indent=indent))
    with pytest.raises(SourceError, match=r"9\.png and 2,990 more\).*one object of images") as caught:
        opened(tmp_path / "t.json")
    assert len(str(caught.value)) < 500


def test_cells_that_pandas_left_empty_hold_nothing(tmp_path: Path) -> None:
    write_images(tmp_path, ["1.png", "2.png", "3.png"])
    row: dict[str, Any] = {"image": "1.png", "caption": "one", "label": "a", "split": "train"}
    empty = {"caption": math.nan, "label": math.nan, "split": math.nan}
    rows = [row, row | {"image": "2.png"} | empty, row | {"image": "3.png", "caption": [math.nan, "three"]}]
    rows.append(row | {"image": math.nan})
    (tmp_path / "t.jsonl").write_text("\n".join(map(json.dumps, rows)))
    source = opened(tmp_path / "t.jsonl")
    assert texts_by_id(source) == {"1.png": ("one",), "2.png": (), "3.png": ("three",)}
    assert [record.label for record in source.records] == ["a", None, "a"]
    assert [record.split for record in source.records] == ["train", None, "train"]
    assert [p.bad.reason for p in source.problems] == ["no image: the cell is empty"]
    columns = {"image": ["1.png", "2.png"], "label": [1.5, math.nan]}
    records = opened(write_parquet(tmp_path / "t.parquet", columns)).records
    assert [record.label for record in records] == ["1.5", None]


def test_compressed_tables_are_read(tmp_path: Path) -> None:
    write_images(tmp_path, ["1.png"])
    (tmp_path / "t.csv.gz").write_bytes(gzip.compress(b"image,caption\n1.png,a dog\n"))
    assert opened(tmp_path / "t.csv.gz").records[0].texts == ("a dog",)
    (tmp_path / "t.csv.gz").write_bytes((tmp_path / "t.csv.gz").read_bytes()[:-12])
    with pytest.raises(SourceError, match="cannot be decompressed"):
        opened(tmp_path / "t.csv.gz")


def test_absolute_paths_and_image_root(tmp_path: Path) -> None:
    write_images(tmp_path / "elsewhere", ["1.png", "2.png"])
    rows = [["image", "caption"], [str(tmp_path / "elsewhere" / "1.png"), "one"]]
    source = opened(write_csv(tmp_path / "tables" / "t.csv", rows))
    assert len(source.records) == 1
    assert source.notes == ["every image path is absolute, so files anywhere are read"]
    mixed = write_csv(tmp_path / "tables" / "mixed.csv", [*rows, ["2.png", "two"]])
    assert "leads outside" in opened(mixed).problems[0].bad.reason
    assert len(opened(mixed, image_root=str(tmp_path / "elsewhere")).records) == 2


def test_paths_that_start_at_a_folder_beside_the_table(tmp_path: Path) -> None:
    write_images(tmp_path / "images", ["1.png"])
    source = opened(write_csv(tmp_path / "t.csv", [["image", "caption"], ["1.png", "one"]]))
    assert len(source.records) == 1
    assert source.notes == ["image paths start at images/, where the files are"]


@pytest.mark.parametrize(
    "lines",
    ["image,caption\n1.png,one\n1.png,two\n", "1.png#0\tone\n1.png#1\ttwo\n", "1.png|one\n1.png|two\n"],
)
def test_captions_in_a_txt_as_flickr_has_them(tmp_path: Path, lines: str) -> None:
    write_images(tmp_path / "Images", ["1.png"])
    (tmp_path / "captions.txt").write_text(lines)
    assert texts_by_id(opened(tmp_path / "captions.txt")) == {"1.png": ("one", "two")}


def test_texts_of_a_table_can_be_used_without_its_images(tmp_path: Path) -> None:
    rows = [["image", "caption"], ["gone.png", "one"], ["gone.png", "two"], ["also.png", "three"]]
    splits = prepared(write_csv(tmp_path / "t.csv", rows), tmp_path, "text", validation_share=0.5)
    parts = [part for part in (splits.train, splits.validation) if part is not None]
    assert {text for part in parts for text in part.texts or []} == {("one", "two"), ("three",)}


def test_files_give_splits_in_a_folder_or_by_pattern(tmp_path: Path) -> None:
    write_images(tmp_path / "d", ["1.png", "2.png"])
    write_csv(tmp_path / "d" / "train.csv", [["image", "caption"], ["1.png", "one"]])
    write_csv(tmp_path / "d" / "my_validation.csv", [["image", "caption"], ["2.png", "two"]])
    for source in (tmp_path / "d", tmp_path / "d" / "*.csv", f"{tmp_path}/d/{{train,my_validation}}.csv"):
        splits = prepared(source, tmp_path, "image", "text")
        assert splits.summary["splits_from"] == "files"
        assert splits.train.texts == [("one",)]
        assert splits.validation is not None
        assert splits.validation.texts == [("two",)]


def test_images_described_by_metadata_in_each_part(tmp_path: Path) -> None:
    for part in ("train", "validation"):
        write_images(tmp_path / "d" / part, ["1.png", "2.png"])
        rows = [["file_name", "text"], ["1.png", f"{part} one"], ["2.png", f"{part} two"]]
        write_csv(tmp_path / "d" / part / "metadata.csv", rows)
    splits = prepared(tmp_path / "d", tmp_path, "image", "text")
    assert splits.train.texts == [("train one",), ("train two",)]
    assert splits.train.domains is None
    assert splits.summary["groups_in_both_parts"] == 2  # the same pictures: said, not hidden


def test_a_folder_of_different_tables_asks_which(tmp_path: Path) -> None:
    write_csv(tmp_path / "a.csv", [["image"], ["1.png"]])
    write_csv(tmp_path / "b.csv", [["question", "answer"], ["what", "that"]])
    with pytest.raises(SourceError, match=r"a\.csv, b\.csv have different columns"):
        opened(tmp_path)


# Parquet, Hugging Face


def write_parquet(path: Path, columns: dict[str, Any], **options: Any) -> Path:
    import pyarrow as pa
    import pyarrow.parquet as pq

    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table(columns), path, **options)
    return path


@pytest.mark.parametrize("struct", [True, False])
def test_parquet_with_bytes(tmp_path: Path, struct: bool) -> None:
    cells = [{"bytes": png(i), "path": None} if struct else png(i) for i in range(7)]
    cells[3] = {"bytes": b"", "path": None} if struct else b""
    columns = {"image": cells, "label": list(range(7)), "caption": [[f"number {i}", "x"] for i in range(7)]}
    path = write_parquet(tmp_path / "t.parquet", columns, row_group_size=3)
    splits = prepared(path, tmp_path, "image", "text", "label", max_bad_share=0.5)
    assert [(bad.place, bad.reason) for bad in splits.bad_records] == [
        ("t.parquet row 3", "zero bytes: the file is empty")
    ]
    assert splits.train.label_names == ["0", "1", "2", "4", "5", "6"]
    place = splits.train.ids.index("t.parquet row 5")
    expected = np.asarray(Image.open(io.BytesIO(png(5)))).transpose(2, 0, 1)
    stored = prepared(path, tmp_path, "image", store_size=24, max_bad_share=0.5).train.images([place])[0]
    assert np.array_equal(stored.numpy(), expected)


def test_parquet_with_paths_beside_it(tmp_path: Path) -> None:
    write_images(tmp_path, ["1.png"])
    import pyarrow as pa

    kind = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    cells = pa.array([{"bytes": None, "path": "1.png"}], type=kind)
    source = opened(write_parquet(tmp_path / "t.parquet", {"image": cells, "text": ["one"]}))
    assert source.records[0].id == "1.png"
    assert source.records[0].image is not None
    assert source.records[0].image.read() == png(0)


def test_parquet_that_holds_bytes_as_strings(tmp_path: Path) -> None:
    import pyarrow as pa

    def strings(*values: bytes) -> pa.Array:
        return pa.array(values, type=pa.binary()).view(pa.string())

    write_images(tmp_path, ["1.png", "2.png"])
    columns = {
        "image": strings(b"1.png", b"2.png", b"caf\xe9.png"),
        "caption": pa.ListArray.from_arrays([0, 2, 3, 4], strings(b"caf\xe9", b"one", b"two", b"three")),
    }
    source = opened(write_parquet(tmp_path / "t.parquet", columns))
    assert texts_by_id(source) == {"1.png": ("one",), "2.png": ("two",)}
    assert [(p.bad.place, p.bad.reason.split(" holds")[0]) for p in source.problems] == [
        ("t.parquet row 0", "wrong encoding: the caption"),
        ("t.parquet row 2", "wrong encoding: the image path"),
    ]


def test_damaged_pages_of_a_parquet_file_name_the_column(tmp_path: Path) -> None:
    path = write_parquet(tmp_path / "t.parquet", {"text": [f"sentence number {i}" for i in range(500)]})
    data = bytearray(path.read_bytes())
    data[4:1000] = b"\xff" * 996  # the footer stays whole
    path.write_bytes(data)
    with pytest.raises(SourceError, match=r"t\.parquet: column text cannot be read"):
        opened(path)


def test_tables_without_rows_say_so_unless_another_has_some(tmp_path: Path) -> None:
    import pyarrow as pa

    write_images(tmp_path, ["1.png"])
    nothing = pa.array([], pa.string())
    path = write_parquet(tmp_path / "0.parquet", {"image": nothing, "caption": nothing})
    (tmp_path / "t.csv").write_text("image\n")
    for empty, columns in ((path, "image, caption"), (tmp_path / "t.csv", "image")):
        with pytest.raises(SourceError, match=rf"no rows in it, only columns \({columns}\)"):
            opened(empty)
    write_parquet(tmp_path / "1.parquet", {"image": ["1.png"], "caption": ["one"]})
    assert texts_by_id(opened(tmp_path / "*.parquet")) == {"1.png": ("one",)}


def test_folder_of_domains(tmp_path: Path) -> None:
    for domain in ("photo", "sketch"):
        for part in ("train", "validation"):
            columns = {"image": [png(1), png(2)], "label": ["a", "b"]}
            write_parquet(tmp_path / "d" / domain / f"{part}.parquet", columns)
    splits = prepared(tmp_path / "d", tmp_path, "image", also=("domain",))
    assert splits.train.domain_names == ["photo", "sketch"]
    assert splits.train.domains is not None
    assert splits.train.domains.tolist() == [0, 0, 1, 1]
    assert len(set(splits.train.ids)) == 4


@pytest.mark.filterwarnings("ignore")
def test_hugging_face_dataset_on_disk(tmp_path: Path) -> None:
    import datasets

    datasets.disable_progress_bars()
    features = datasets.Features(
        {
            "image": datasets.Image(),
            "label": datasets.ClassLabel(names=["cat", "dog"]),
            "text": datasets.Value("string"),
        }
    )

    def part(seed: int) -> datasets.Dataset:
        cells = [{"bytes": png(seed + i), "path": None} for i in range(3)]
        columns = {"image": cells, "label": [0, 1, 1], "text": ["one", "two", "three"]}
        return datasets.Dataset.from_dict(columns, features=features)

    datasets.DatasetDict({"train": part(0), "validation": part(10)}).save_to_disk(str(tmp_path / "both"))
    splits = prepared(tmp_path / "both", tmp_path, "image", "label", "text")
    assert splits.summary["kind"] == "Hugging Face dataset on disk"
    assert splits.train.label_names == ["cat", "dog"]
    assert splits.train.texts == [("one",), ("two",), ("three",)]
    assert splits.validation is not None
    assert np.array_equal(
        np.asarray(splits.validation.original(2)), np.asarray(Image.open(io.BytesIO(png(12))))
    )
    part(0).save_to_disk(str(tmp_path / "one"))
    assert len(opened(tmp_path / "one").records) == 3
    (tmp_path / "shards").mkdir()
    part(0).to_parquet(str(tmp_path / "shards" / "train-00000-of-00001.parquet"))
    part(20).to_parquet(str(tmp_path / "shards" / "validation-00000-of-00001.parquet"))
    splits = prepared(tmp_path / "shards", tmp_path, "image", "label")
    assert splits.train.label_names == ["cat", "dog"]


def write_saved(folder: Path, num_rows: int = 500) -> Path:
    """What `save_to_disk` writes of a dataset of one file."""
    import pyarrow as pa

    folder.mkdir(parents=True)
    table = pa.table({"text": [f"sentence number {i}" for i in range(num_rows)]})
    with pa.OSFile(str(folder / "data.arrow"), "wb") as file, pa.ipc.new_stream(file, table.schema) as stream:
        stream.write_table(table)
    (folder / "state.json").write_text('{"_data_files": [{"filename": "data.arrow"}]}')
    return folder


def test_damaged_datasets_on_disk_say_which_file(tmp_path: Path) -> None:
    folder = write_saved(tmp_path / "both" / "train")
    said = tmp_path / "both" / "dataset_dict.json"
    said.write_text('{"splits": ["train"]}')
    assert len(opened(tmp_path / "both").records) == 500
    for wrong in ("{}", "[]", '{"splits": []}'):
        said.write_text(wrong)
        with pytest.raises(SourceError, match=r"dataset_dict\.json: not what save_to_disk writes"):
            opened(tmp_path / "both")
    said.write_bytes(b"\xff{}")
    with pytest.raises(SourceError, match=r"dataset_dict\.json: no valid JSON"):
        opened(tmp_path / "both")
    whole = (folder / "data.arrow").read_bytes()
    for length in (len(whole) // 2, 100, 0):
        (folder / "data.arrow").write_bytes(whole[:length])
        with pytest.raises(SourceError, match=r"train/data\.arrow: no readable Arrow file"):
            opened(folder)
    (folder / "data.arrow").unlink()
    with pytest.raises(SourceError, match=r"train/data\.arrow: missing"):
        opened(folder)
    (folder / "state.json").write_text('{"_data_files": []}')
    with pytest.raises(SourceError, match="names no files"):
        opened(folder)


# Tar shards


def write_tar(path: Path, members: dict[str, bytes]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w") as archive:
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return path


def test_tar_shards(tmp_path: Path) -> None:
    for shard in range(3):
        members: dict[str, bytes] = {}
        for i in (0, 1):
            key = f"s{shard}/{i:03d}"
            described = json.dumps({"caption": f"a caption {shard} {i}", "label": "x"}).encode()
            members |= {f"{key}.png": png(10 * shard + i), f"{key}.json": described}
        members |= {
            f"s{shard}/002.jpg": png(99 + shard),
            f"s{shard}/002.txt": b"another",
            f"s{shard}/002.cls": b"y",
        }
        members[f"s{shard}/003.jpg"] = b"no image"
        write_tar(tmp_path / "shards" / f"{shard:03d}.tar", members)
    source = opened(f"{tmp_path}/shards/{{000..002}}.tar")
    assert [r.id for r in source.records[:2]] == ["000.tar/s0/000", "000.tar/s0/001"]
    assert source.records[1].texts == ("a caption 0 1",)
    assert (source.records[2].texts, source.records[2].label) == (("another",), "y")
    assert source.columns == {"image": "jpg, png", "text": "json, txt", "label": "cls, json"}
    image = source.records[4].image
    assert image is not None
    assert image.read() == png(10)
    splits = prepared(tmp_path / "shards", tmp_path, "image", max_bad_share=0.5)
    assert [bad.place for bad in splits.bad_records] == [f"00{i}.tar/s{i}/003" for i in range(3)]


@pytest.mark.parametrize(
    "names",
    [[f"scan.{i:02}.png" for i in range(8)], [f"d/{name}.{i}.png" for name in "xyz" for i in range(3)]],
)
def test_pictures_of_shards_may_have_dots_in_their_names(tmp_path: Path, names: list[str]) -> None:
    source = opened(write_tar(tmp_path / "s.tar", {name: png(i) for i, name in enumerate(names)}))
    assert [record.id for record in source.records] == [f"s.tar/{name[:-4]}" for name in names]
    assert [record.image.read() for record in source.records if record.image] == [
        png(i) for i in range(len(names))
    ]
    assert source.notes == []


def test_of_several_pictures_of_a_record_the_first_is_taken_and_the_others_are_told_of(
    tmp_path: Path,
) -> None:
    members = {f"{i}.{side}.png": png(i) for i in range(4) for side in ("left", "right", "seg")}
    source = opened(write_tar(tmp_path / "s.tar", members))
    assert [record.id for record in source.records] == [f"s.tar/{i}" for i in range(4)]
    assert source.notes == [
        "4 records hold several images; of 0 left.png was taken and right.png, seg.png skipped"
    ]


def test_columns_of_shards_can_be_named(tmp_path: Path) -> None:
    described = [{"alt": "one", "species": "cat", "lot": 7}, {"alt": "two", "note": ["three", "four"]}]
    members = {f"{i}.json": json.dumps(keys).encode() for i, keys in enumerate(described)}
    members |= {"0.png": png(0), "1.png": png(1), "0.cls": b"9", "0.txt": b"unasked", "1.seg.txt": b"five"}
    path = write_tar(tmp_path / "s.tar", dict(sorted(members.items())))
    named = opened(path, text_column="alt, note, seg.txt", label_column="species", group_column="lot")
    assert [record.texts for record in named.records] == [("one",), ("five", "two", "three", "four")]
    assert [(record.label, record.group) for record in named.records] == [("cat", "7"), (None, None)]
    assert [record.texts for record in opened(path).records] == [("unasked",), ()]
    for option, name in {"text": "alt,nota", "label": "specie", "group": "plot"}.items():
        missing = name.split(",")[-1]
        said = rf"no column '{missing}' \(--data\.{option}-column\); it has alt, cls, .*; did you mean"
        with pytest.raises(SourceError, match=said):
            opened(path, **{f"{option}_column": name})


def test_space_around_a_label_or_group_of_a_shard_makes_no_other_of_it(tmp_path: Path) -> None:
    members = {"0.png": png(0), "0.cls": b"cat\n", "0.json": b'{"lot": "7"}'}
    members |= {"1.png": png(1), "1.json": b'{"label": " cat", "lot": " 7"}'}
    members |= {"2.png": png(2), "2.json": b'{"label": "  ", "lot": ""}'}
    records = opened(write_tar(tmp_path / "s.tar", members), group_column="lot").records
    assert [(record.label, record.group) for record in records] == [("cat", "7"), ("cat", "7"), (None, None)]


def test_shards_in_subfolders_give_splits(tmp_path: Path) -> None:
    write_tar(tmp_path / "s" / "train" / "000.tar", {"a.png": png(0), "b.png": png(1)})
    write_tar(tmp_path / "s" / "val" / "000.tar", {"a.png": png(2)})
    splits = prepared(tmp_path / "s", tmp_path)
    assert splits.summary["counts"] == {"train": 2, "validation": 1}


def test_a_truncated_shard_loses_only_its_end(tmp_path: Path) -> None:
    path = write_tar(tmp_path / "a.tar", {f"{i}.png": png(i) for i in range(4)})
    path.write_bytes(path.read_bytes()[: 2 * 2560 + 700])
    source = opened(path)
    assert [record.id for record in source.records] == ["a.tar/0", "a.tar/1"]
    assert [(problem.bad.place, problem.bad.reason.split(":")[0]) for problem in source.problems] == [
        ("a.tar/2", "truncated"),
        ("a.tar", "truncated shard"),
    ]
    bad = tmp_path / "b.tar"
    bad.write_bytes(b"no tar at all" * 100)
    with pytest.raises(SourceError, match="no readable tar"):
        opened(bad)
    (tmp_path / "c.tar.gz").write_bytes(b"")
    with pytest.raises(SourceError, match="unpack"):
        opened(tmp_path / "c.tar.gz")


def test_a_shard_of_which_a_part_is_not_read_says_so(tmp_path: Path) -> None:
    path = write_tar(tmp_path / "a.tar", {f"{i}.png": png(i) for i in range(4)})
    whole = path.read_bytes()
    assert opened(path).problems == []
    with tarfile.open(path) as archive:
        start, end = archive.getmembers()[2].offset, archive.offset
    path.write_bytes(whole[:end])  # some writers leave the zeros at the end out
    assert opened(path).problems == []
    joined = write_tar(tmp_path / "b.tar", {"9.png": png(9)}).read_bytes()
    damaged = whole[:start] + b"\xff" * 512 + whole[start + 512 :]
    for data, kept, last in ((damaged, 2, "1"), (whole + joined, 4, "3")):
        path.write_bytes(data)
        source = opened(path)
        assert len(source.records) == kept
        (problem,) = source.problems
        assert problem.part == "row"
        assert problem.bad.place == "a.tar"
        assert problem.bad.reason.startswith("damaged shard: ")
        assert problem.bad.reason.endswith(f"; what comes after {last} is lost")


def test_shards_that_hold_no_text_are_set_aside_and_can_be_saved(tmp_path: Path) -> None:
    members = {f"{name}.png": png(i) for i, name in enumerate(("a", "b", "c", "d", "e", "caf\udce9"))}
    members |= {"a.cls": b"caf\xe9", "b.json": b'{"label": "\\ud83d"}', "c.json": b'{"patient": "caf\xe9"}'}
    members |= {"d.json": b'{"n": %s}' % (b"1" * 5000), "e.json": b"[" * 100_000}
    members |= {"caf\udce9.j\udce9": b""}
    source = opened(write_tar(tmp_path / "s.tar", dict(sorted(members.items()))), group_column="patient")
    assert [record.id for record in source.records] == ["s.tar/caf\ufffd", "s.tar/d", "s.tar/e"]
    expected = [
        ("row", "s.tar/a", "wrong encoding: the label"),
        ("row", "s.tar/b", "wrong encoding: the label"),
        ("row", "s.tar/c", "wrong encoding: the group"),
        ("text", "s.tar/d", "no valid JSON"),
        ("text", "s.tar/e", "no valid JSON"),
    ]
    for problem, (part, place, reason) in zip(source.problems, expected, strict=True):
        assert (problem.part, problem.bad.place) == (part, place)
        assert problem.bad.reason.startswith(reason)
    json.dumps([source.columns_found, [record.id for record in source.records]], ensure_ascii=False).encode()


# Sentences, fsspec, scenes, nothing


@pytest.mark.parametrize("encoding", ["utf-8", "UTF-8", "U8"])
def test_byte_order_marks_are_no_part_of_a_caption(tmp_path: Path, encoding: str) -> None:
    marked = "\ufeffa cat".encode()
    (tmp_path / "s.txt").write_bytes(marked)
    write_images(tmp_path / "flat", ["1.png"])
    (tmp_path / "flat" / "1.txt").write_bytes(marked)
    shard = write_tar(tmp_path / "s.tar", {"1.png": png(1), "1.txt": marked, "1.cls": "\ufeffb".encode()})
    (tmp_path / "t.jsonl").write_bytes('\ufeff{"caption": "a cat"}'.encode())
    for source in (tmp_path / "s.txt", tmp_path / "flat", shard, tmp_path / "t.jsonl"):
        (record,) = opened(source, encoding=encoding).records
        assert record.texts == ("a cat",)
        assert record.label in (None, "b")


def test_sentences(tmp_path: Path) -> None:
    path = tmp_path / "s.txt.gz"
    path.write_bytes(gzip.compress("first sentence\n\n第二句话\n".encode() + b"broken \xff\n"))
    source = opened(path)
    assert [(r.place, r.texts) for r in source.records] == [
        ("s.txt.gz:1", ("first sentence",)),
        ("s.txt.gz:3", ("第二句话",)),
    ]
    assert source.problems[0].bad.place == "s.txt.gz:4"
    assert source.problems[0].bad.reason.startswith("wrong encoding")


def test_any_fsspec_address(tmp_path: Path) -> None:
    import fsspec

    memory = fsspec.filesystem("memory")
    for number in range(3):
        memory.pipe(f"/pets/images/{number}.png", png(number))
    rows = "image,caption\nimages/0.png,zero\nimages/1.png,one\nimages/9.png,nine\n../x.png,out\n"
    memory.pipe("/pets/t.csv", rows.encode())
    source = opened("memory://pets/t.csv")
    assert texts_by_id(source) == {"images/0.png": ("zero",), "images/1.png": ("one",)}
    assert [p.bad.reason.split(":")[0] for p in source.problems] == [
        "missing",
        "the path leads outside the data's root",
    ]
    splits = prepared("memory://pets/images", tmp_path)
    assert sum(splits.summary["counts"].values()) == 3


def test_file_addresses_are_those_of_this_machine(tmp_path: Path) -> None:
    write_images(tmp_path / "d" / "images", ["1.png", "2.png"])
    write_csv(tmp_path / "d" / "t.csv", [["image", "caption"], ["1.png", "one"]])
    write_tar(tmp_path / "s" / "000.tar", {"1.png": png(1)})
    for source in ("d", "d/images", "d/t.csv", "d/*.csv", "s", "s/{000..000}.tar", "d/images/1.png"):
        plain, addressed = opened(tmp_path / source), opened(f"file://{tmp_path}/{source}")
        assert len(addressed.records) > 0
        assert addressed.records == plain.records
        assert addressed.records[0].image is not None
        assert addressed.records[0].image.read() == plain.records[0].image.read()  # type: ignore[union-attr]
    rooted = opened(tmp_path / "d" / "t.csv", image_root=f"file://{tmp_path}/d/images")
    assert [record.id for record in rooted.records] == ["1.png"]
    with pytest.raises(SourceError, match="no such file"):
        opened(f"file://{tmp_path}/nowhere")


def test_an_address_that_cannot_be_reached_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """By whatever the client of that protocol raises."""
    import fsspec

    filesystem = type(fsspec.filesystem("memory"))

    def unreachable(*_: object, **__: object) -> None:
        raise RuntimeError("Name or service not known\nand much more")

    for name in ("isdir", "info", "find", "glob"):
        monkeypatch.setattr(filesystem, name, unreachable)
    said = r"memory://pets.*: it cannot be reached \(RuntimeError: Name or service not known\); is the"
    for source in ("memory://pets/images", "memory://pets/*.csv"):
        with pytest.raises(SourceError, match=said):
            opened(source)


def test_a_json_table_is_read_where_nothing_else_is_there_and_else_told_of(tmp_path: Path) -> None:
    folder = tmp_path / "d"
    write_images(folder, ["1.png", "2.png"])
    rows = [{"image": f"{number}.png", "caption": f"a caption {number}"} for number in (1, 2)]
    (folder / "captions.json").write_text(json.dumps(rows))
    source = opened(folder)
    assert source.kind == "folder of images"
    assert (
        f"skipped 1 other files: 1 .json (name {folder / 'captions.json'} itself to read it"
        in source.notes[-1]
    )
    assert len(texts_by_id(opened(folder / "captions.json"))) == 2
    (tmp_path / "alone").mkdir()
    (tmp_path / "alone" / "captions.json").write_text(json.dumps(rows))
    alone = opened(tmp_path / "alone", image_root=str(folder))
    assert texts_by_id(alone) == {"1.png": ("a caption 1",), "2.png": ("a caption 2",)}


def test_a_file_that_is_no_text_is_no_table(tmp_path: Path) -> None:
    (tmp_path / "weights.csv").write_bytes(b"\x98\x00\x00\xff{weights}" * 20)
    with pytest.raises(SourceError, match="not a table: its first line holds zero bytes"):
        opened(tmp_path / "weights.csv")


def test_scenes(tmp_path: Path) -> None:
    splits = prepared("scenes:train=30,validation=10,seed=3,size=32", tmp_path, "image", "text")
    assert splits.validation is not None
    assert (len(splits.train), len(splits.validation)) == (30, 10)
    assert splits.train.images([0, 5]).shape == (2, 3, 32, 32)
    assert splits.train.original(0).size == (32, 32)
    again = prepared("scenes:train=30,validation=20,seed=3,size=32", tmp_path, "image", "text")
    assert again.train.fingerprint == splits.train.fingerprint
    smaller = prepared("scenes:train=30,validation=10,seed=3,size=24", tmp_path, "image", "text")
    assert smaller.train.fingerprint != splits.train.fingerprint
    assert not np.array_equal(splits.train.images([0]).numpy(), splits.validation.images([0]).numpy())
    captions = [texts[0] for texts in splits.train.texts or []]
    same = {(a == b) == (x == y) for a, x in zip(captions, splits.train.groups, strict=True)
            for b, y in zip(captions, splits.train.groups, strict=True)}  # fmt: skip
    assert same == {True}  # equal captions, and only they, share a group
    for wrong in ("scenes:count=3", "scenes:train=many", "scenes:train=0"):
        with pytest.raises(ConfigError, match="scenes"):
            opened(wrong)


def test_nothing_there(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="no such file"):
        opened(tmp_path / "nowhere")
    with pytest.raises(SourceError, match="no file matches"):
        opened(tmp_path / "*.csv")
    with pytest.raises(SourceError, match="empty"):
        opened(tmp_path)
    (tmp_path / "a.docx").write_text("x")
    with pytest.raises(SourceError, match="docx"):
        opened(tmp_path)
    with pytest.raises(SourceError, match="expected a folder of images"):
        opened(tmp_path / "a.docx")


def test_addresses_that_lead_nowhere_are_source_errors(tmp_path: Path) -> None:
    table = write_csv(tmp_path / "t.csv", [["caption"], ["one"]])
    with pytest.raises(SourceError, match=rf"there is no such file or folder \(looked in {table}\)"):
        opened(table / "x")
    with pytest.raises(SourceError, match=r"it names .*t\.csv/x, but there is no such file"):
        opened(f"{tmp_path}/{{t.csv,t.csv/x}}")
    for address in ("a\0b", f"{tmp_path}/\0/{{a,b}}.csv"):
        with pytest.raises(SourceError, match="cannot be reached: embedded null byte"):
            opened(address)
    with pytest.raises(SourceError, match="cannot be looked for: embedded null byte"):
        opened(f"{tmp_path}/\0/*.csv")
    with pytest.raises(SourceError, match="cannot be reached: File name too long"):
        opened("x" * 300)


def test_column_options_that_a_source_cannot_read_are_refused(tmp_path: Path) -> None:
    write_images(tmp_path / "photos", ["cat/1.png", "dog/2.png"])
    (tmp_path / "sentences.txt").write_text("one\ntwo\n")
    sources = {
        tmp_path / "photos": "folder of images",
        tmp_path / "sentences.txt": "text file of sentences",
        "scenes:train=4,validation=0,size=24": "generated scenes",
    }
    for source, kind in sources.items():
        for option in ("image", "text", "label", "group", "split", "domain", "id"):
            said = rf"no column 'x' \(--data\.{option}-column\); .* as {kind}, which has no columns"
            with pytest.raises(SourceError, match=said):
                opened(source, **{f"{option}_column": "x"})
    shard = write_tar(tmp_path / "s.tar", {"1.png": png(0), "1.json": b'{"split": "train", "uid": "one"}'})
    for option in ("image", "split", "domain", "id"):
        said = (
            rf"--data\.{option}-column\).* only --data\.text-column, --data\.label-column, "
            "--data.group-column"
        )
        with pytest.raises(SourceError, match=said):
            opened(shard, **{f"{option}_column": "split"})


def test_options_that_a_source_does_not_read_are_remarked_on(tmp_path: Path) -> None:
    write_images(tmp_path / "bare", ["cat/1.png", "dog/2.png"])
    write_images(tmp_path / "told", ["cat/1.png", "dog/2.png"])
    (tmp_path / "told" / "cat" / "1.txt").write_text("a cat")
    (tmp_path / "sentences.txt").write_text("one\ntwo\n")
    table = write_csv(tmp_path / "t.csv", [["image", "caption"], ["cat/1.png", "one"]])
    text_only = write_parquet(tmp_path / "t.parquet", {"caption": ["one", "two"]})
    shard = write_tar(tmp_path / "s.tar", {"1.png": png(0), "1.txt": b"one"})
    options = {"image_root": str(tmp_path / "told"), "text_separator": "|", "encoding": "latin-1"}
    unread = {
        tmp_path / "bare": set(options),
        tmp_path / "told": {"image_root", "text_separator"},
        tmp_path / "sentences.txt": {"image_root", "text_separator"},
        "scenes:train=4,validation=0,size=24": set(options),
        shard: {"image_root"},
        text_only: {"image_root", "encoding"},
        table: set(),
    }
    for source, expected in unread.items():
        notes = [note for note in opened(source, **options).notes if " is not read, because " in note]
        assert {note.split(" ")[0] for note in notes} == {flag("data", option) for option in expected}, source
        assert not any(" is not read" in note for note in opened(source).notes)
    notes = opened(tmp_path / "bare", encoding="gb18030", validation=str(table)).notes
    assert notes == [
        f"--data.encoding is not read of {tmp_path / 'bare'}, because no captions lie beside the images"
    ]


def test_options_of_a_draw_are_remarked_on_where_nothing_is_drawn(tmp_path: Path) -> None:
    write_images(
        tmp_path / "named", [f"{part}/{number}.png" for part in ("train", "val") for number in (1, 2)]
    )
    write_images(tmp_path / "plain", ["1.png", "2.png", "3.png"])
    options = {"validation_share": 0.5, "split_seed": 3}

    def remarks(source: str, **more: Any) -> list[str]:
        notes: list[str] = prepared(tmp_path / source, tmp_path, **options, **more).summary["notes"]
        return [note for note in notes if " is not read" in note]

    why = "is not read, because the data names its validation part"
    assert remarks("named") == [f"--data.validation-share {why}", f"--data.split-seed {why}"]
    assert remarks("plain") == []
    why = "is not read, because --data.validation names another source"
    other = str(tmp_path / "named")
    told = [f"--data.validation-share {why}", f"--data.split-seed {why}"]
    assert remarks("plain", validation=other) == told


def test_a_validation_folder_needs_none_of_the_tables_columns(tmp_path: Path) -> None:
    rows = [
        ["image", "species"],
        *([f"photos/{kind}/{n}.png", kind] for kind in ("cat", "dog") for n in "12"),
    ]
    write_images(tmp_path, [row[0] for row in rows[1:]])
    table = write_csv(tmp_path / "t.csv", rows)
    write_images(tmp_path / "held", ["cat/3.png", "dog/4.png"])
    splits = prepared(
        table, tmp_path, "image", "label", label_column="species", validation=str(tmp_path / "held")
    )
    assert splits.validation is not None
    assert len(splits.validation) == 2
    assert splits.validation.labels is not None
    assert sorted(splits.validation.labels) == [0, 1]


def test_what_a_method_needs_must_be_there(tmp_path: Path) -> None:
    write_images(tmp_path / "flat", ["1.png", "2.png"])
    with pytest.raises(SourceError, match=r"texts are needed.*Put a NAME\.txt beside each image"):
        prepared(tmp_path / "flat", tmp_path, "image", "text")
    table = write_csv(tmp_path / "flat" / "t.csv", [["image"], ["1.png"], ["2.png"]])
    with pytest.raises(SourceError, match=r"texts are needed.*--data\.text-column"):
        prepared(table, tmp_path, "image", "text")
    with pytest.raises(SourceError, match="labels are needed"):
        prepared(tmp_path / "flat", tmp_path, "image", "label")
