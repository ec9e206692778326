"""Delimited texts as spreadsheets, pandas and Spark write them."""

from __future__ import annotations

from pathlib import Path

import pytest

from likewise.data import DataConfig, Source, open_source
from likewise.data.tables.csv_rows import guess_delimiter, split_rows
from likewise.errors import ConfigError

CAPTIONS = [f"a man, a dog, and {number} cats" for number in range(8)]


def texts(path: Path, content: str, **options: str) -> list[tuple[str, ...]]:
    path.write_bytes(content.encode())
    return [record.texts for record in opened(path, **options).records]


def opened(path: Path, **options: str) -> Source:
    return open_source(DataConfig(source=str(path), **options))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for number in range(8):
        (tmp_path / f"{number}.png").write_bytes(b"")
    return tmp_path


@pytest.mark.parametrize("name", ["t.tsv", "t.tab", "t.csv"])
@pytest.mark.parametrize("header", ["", "image\tcaption (one, two, three)\n"])
def test_commas_in_captions_are_no_delimiters_of_a_tsv(folder: Path, name: str, header: str) -> None:
    rows = "".join(f"{number}.png\t{caption}\n" for number, caption in enumerate(CAPTIONS))
    assert texts(folder / name, header + rows) == [(caption,) for caption in CAPTIONS]


@pytest.mark.parametrize("header", ["", "image;caption\n"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_the_delimiter_is_the_one_of_all_rows(folder: Path, header: str, end: str) -> None:
    rows = "".join(f"{number}.png;{caption}\n" for number, caption in enumerate(CAPTIONS))
    content = (header + rows).replace("\n", end)
    assert texts(folder / "t.csv", content) == [(caption,) for caption in CAPTIONS]


def test_the_delimiter_can_be_named(folder: Path) -> None:
    content = "image^caption\n0.png^one\n"
    assert texts(folder / "t.csv", content, delimiter="^") == [("one",)]
    assert texts(folder / "u.csv", content.replace("^", "\t"), delimiter="tab") == [("one",)]
    (folder / "s.txt").write_text("one\n")
    assert opened(folder / "s.txt", delimiter=";").notes == [
        "data.delimiter is not read, because only CSV files have one"
    ]
    for wrong in ("", ";;", "\n", '"'):
        with pytest.raises(ConfigError, match=r"data\.delimiter"):
            DataConfig(source="t.csv", delimiter=wrong)


def test_one_column_has_a_comma_for_delimiter() -> None:
    assert guess_delimiter("caption\na dog\na cat\n") == ","
    assert guess_delimiter("image|caption\n1.png|a, b\n") == "|"


def test_quotes_escaped_by_backslashes_are_read() -> None:
    lines = ["image,caption", r'0,"a \"big\" dog"', '1,"a cat"', '2,"a ""small"" dog"', r'3,"5\""', "4,x"]
    rows, bad = split_rows("\n".join(lines), ",")
    assert [row[1] for _, row in rows] == ["caption", 'a "big" dog', "a cat", 'a "small" dog', '5"', "x"]
    assert bad == []
    assert split_rows('a,b\nC:\\x\\1.png,"C:\\y\\"\n', ",")[0][1] == (2, ["C:\\x\\1.png", "C:\\y\\"])


def test_text_after_a_closing_quote_is_a_bad_row() -> None:
    rows, bad = split_rows('image,caption\n0.png,"a "big" dog"\n1.png,a cat\n', ",")
    assert [number for number, _ in rows] == [1, 3]
    assert bad == [(2, "a stray quote: ',' expected after '\"'")]


@pytest.mark.parametrize(
    ("header", "count"),
    [
        ("caption,caption.1,caption.2", 3),
        ("caption,caption2,caption3", 3),
        ("caption_1,caption_2,caption_3", 3),
        ("caption,note1,note2", 1),
    ],
)
def test_numbered_captions_beside_caption_are_captions(folder: Path, header: str, count: int) -> None:
    assert texts(folder / "t.csv", f"image,{header}\n0.png,a,b,c\n") == [("a", "b", "c")[:count]]


def test_existing_files_are_preferred_to_addresses(folder: Path) -> None:
    rows = "".join(f"http://a.example/{n}.jpg,{n}.png,gone/{n}.png,a dog {n}\n" for n in range(8))
    for header in ("image,local,other,caption", "url,path,image,caption"):
        (folder / "t.csv").write_text(f"{header}\n{rows}")
        source = opened(folder / "t.csv")
        assert source.columns["image"] == header.split(",")[1]
        assert source.problems == []
        assert header.split(",")[0] in source.columns_unread


def test_names_of_columns_in_messages_are_short_and_printable(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("\x1b[31m" + "x" * 50_000 + ",b\n1,2\n")
    with pytest.raises(Exception, match=r"among \\x1b\[31mx+\.\.\., b;") as caught:
        opened(tmp_path / "t.csv")
    assert len(str(caught.value)) < 500
