"""Tables of questions, statements and phrases: which column they are read of, and each row by itself."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

import pytest
from PIL import Image

from likewise.data import DataConfig, Source, open_source
from likewise.data.columns import OPTIONAL, PHRASE, QUESTION, STATEMENT, Need, Needs
from likewise.evaluation.registry import find_task, needs_of_tasks
from likewise.methods.catalog import find_method


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("a.png", "b.png"):
        Image.new("RGB", (8, 8)).save(tmp_path / name)
    return tmp_path


def opened(folder: Path, table: str, needs: Needs, **options: str) -> Source:
    (folder / "t.csv").write_text(table)
    return open_source(DataConfig(source=str(folder / "t.csv"), **options), needs)


@pytest.mark.parametrize(
    ("header", "need"),
    [
        ("question", QUESTION),
        ("问题", QUESTION),
        ("statement", STATEMENT),
        ("hypothesis", STATEMENT),
        ("phrase", PHRASE),
    ],
)
def test_the_task_says_which_column_is_its_text(header: str, need: Need, folder: Path) -> None:
    table = f"image,caption,{header}\na.png,a cat,is it red\nb.png,a dog,is it blue\n"
    found = opened(folder, table, Needs("image", text=need))
    assert [record.texts for record in found.records] == [("is it red",), ("is it blue",)]
    note = f"the texts are those of the column {header}, not of caption; --data.text-column names another"
    assert found.notes == [note]
    assert opened(folder, table, Needs("image", "text")).records[0].texts == ("a cat",)
    named = opened(folder, table, Needs("image", text=need), text_column="caption")
    assert (named.records[0].texts, named.notes) == (("a cat",), [])


def test_methods_and_tasks_prefer_the_columns_that_the_commands_prefer() -> None:
    for name, need in (("vqa", QUESTION), ("nlvr", STATEMENT), ("entailment", STATEMENT)):
        assert find_method(name).needs.columns["text"] == need
        assert find_task(name).needs.columns["text"] == need
        read = needs_of_tasks(SimpleNamespace(column="image"), name)  # type: ignore[arg-type]
        assert (read.headers_of("text"), read.columns["text"].required) == (need.headers, False)
    assert find_task("grounding").needs.columns["text"] == PHRASE


def test_a_column_of_few_phrases_is_one_of_texts(folder: Path) -> None:
    table = "image,phrase\na.png,a star\nb.png,a star\n"
    found = opened(folder, table, Needs("image", boxes=OPTIONAL, text=PHRASE))
    assert [record.texts for record in found.records] == [("a star",), ("a star",)]


ROWS = "image,text\na.png,one\nb.png,two\nno.png,three\na.png,four\nno.png,five\n"


def test_rows_of_one_image_keep_their_order_and_place(folder: Path) -> None:
    needs = Needs("image", "text")
    found = opened(folder, ROWS, needs.row_by_row())
    assert [(record.place, record.texts) for record in found.records] == [
        ("t.csv:2", ("one",)),
        ("t.csv:3", ("two",)),
        ("t.csv:5", ("four",)),
    ]
    assert [record.written for record in found.records] == [{"image": f"{name}.png"} for name in "aba"]
    assert [problem.bad.place for problem in found.problems] == ["t.csv:4", "t.csv:6"]
    merged = opened(folder, ROWS, needs)
    assert [record.texts for record in merged.records] == [("one", "four"), ("two",)]
    assert [problem.bad.place for problem in merged.problems] == ["t.csv:4"]
    assert merged.records[0].written == {}


def test_paths_of_both_images_are_kept_as_they_are_written(folder: Path) -> None:
    rows = [{"id": "x", "image": "a.png", "image_2": "./b.png", "statement": "both are red"}]
    (folder / "t.jsonl").write_text("\n".join(map(json.dumps, rows)))
    needs = Needs("image", "image_2", text=STATEMENT).row_by_row()
    (record,) = open_source(DataConfig(source=str(folder / "t.jsonl")), needs).records
    assert record.written == {"image": "a.png", "image_2": "./b.png"}
