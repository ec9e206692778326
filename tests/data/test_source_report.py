"""What `likewise data SOURCE` shows."""

from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageEnhance
from rich.console import Console

from likewise.cli.files.source_tables import print_report
from likewise.data import DataConfig, prepare
from likewise.data.columns import Needs
from likewise.data.images.duplicates import exact_duplicates, near_duplicates
from likewise.data.source_report import SourceReport, inspect_source
from likewise.errors import SourceError
from likewise.reporting.sheets.contact_sheet import draw_contact_sheet
from likewise.reporting.sheets.sheet import wrap


def photo(seed: int) -> Image.Image:
    """Something smooth with structure, as photographs have it."""
    noise = np.random.default_rng(seed).integers(0, 256, (6, 6, 3), dtype=np.uint8)
    return Image.fromarray(noise).resize((90, 70), Image.Resampling.BICUBIC)


@pytest.fixture
def report(tmp_path: Path) -> SourceReport:
    folder = tmp_path / "pets"
    for number in range(10):
        path = folder / "train" / ("cat" if number < 4 else "dog") / f"{number}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        photo(number).save(path, quality=95)
    (folder / "val" / "dog").mkdir(parents=True)
    (folder / "val" / "dog" / "copy.jpg").write_bytes((folder / "train" / "dog" / "7.jpg").read_bytes())
    again = ImageEnhance.Brightness(photo(8).resize((45, 35))).enhance(1.01)
    again.save(folder / "train" / "dog" / "small.jpg", quality=60)
    (folder / "train" / "dog" / "broken.jpg").write_bytes(b"not at all")
    (folder / "train" / "dog" / "9.txt").write_text("a caption [of a dog]\n狗在草地上跑\n", encoding="utf-8")
    return inspect_source(DataConfig(source=str(folder), cache_dir=str(tmp_path / "cache")))


@pytest.mark.parametrize(("bits", "told"), [(16, False), (12, True)])
def test_pictures_that_come_out_nearly_black_are_told_of(bits: int, told: bool, tmp_path: Path) -> None:
    (tmp_path / "scans").mkdir()
    for number in range(40):
        values = np.random.default_rng(number).integers(0, 2**bits, (20, 20)).astype(np.uint16)
        Image.fromarray(values).save(tmp_path / "scans" / f"{number}.png")
    config = DataConfig(source=str(tmp_path / "scans"), cache_dir=str(tmp_path / "cache"))
    *notes, grey = inspect_source(config).notes
    assert grey.startswith("40 of 40 images looked at are grey")
    assert [note for note in notes if "nearly black: the brightest value of most is 16 of 255" in note] == (
        notes if told else []
    )


def test_report_says_what_there_is(report: SourceReport) -> None:
    assert report.counts == {"train": 11, "val": 1}
    assert report.labels == {"dog": 8, "cat": 4}
    assert report.num_images == 12
    assert report.picture_sizes == {"smallest": [45, 35], "median": [90, 70], "largest": [90, 70]}
    assert report.num_sizes == 2
    assert len(report.examples) == 6
    assert report.exact_duplicates == [["train/dog/7.jpg", "val/dog/copy.jpg"]]
    assert report.near_duplicates == [["train/dog/8.jpg", "train/dog/small.jpg"]]
    assert report.duplicates_across_splits == 1
    assert [bad.place for bad in report.bad_records if "not an image" in bad.reason] == [
        "train/dog/broken.jpg"
    ]
    json.dumps(report.to_json())


def test_a_source_of_bad_records_alone_is_shown(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text("image,caption\n../x.png,one\nnowhere.png,two\n")
    report = inspect_source(DataConfig(source=str(path), cache_dir=str(tmp_path / "cache")))
    said = f"try: --data.image-root FOLDER names where the images lie, if it is not {tmp_path}"
    assert (report.bad_share, report.num_images, report.notes) == (1.0, 0, [said])
    stream = io.StringIO()
    print_report(report, Console(file=stream, width=120))
    assert "t.csv:3: missing" in stream.getvalue()


def test_report_prints(report: SourceReport) -> None:
    stream = io.StringIO()
    print_report(report, Console(file=stream, width=120))
    shown = stream.getvalue()
    for expected in (
        "folder of images",
        "dog 8, cat 4",
        "train/dog/7.jpg = val/dog/copy.jpg",
        "not an image",
    ):
        assert expected in shown


def test_contact_sheet(report: SourceReport, tmp_path: Path) -> None:
    remarks = draw_contact_sheet(report.dataset, tmp_path / "sheet.png", count=7, columns=3, side=100)
    with Image.open(tmp_path / "sheet.png") as sheet:
        assert sheet.width == 3 * (100 + 14) + 14
    assert all("font" in remark for remark in remarks)


def test_captions_are_wrapped_within_their_column() -> None:
    from PIL import ImageFont

    font = ImageFont.load_default(13)
    for text in (
        "a black and white dog runs over the wet grass",
        "黑白相间的狗在湿漉漉的草地上奔跑着" * 3,
        "x" * 99,
        "",
    ):
        lines = wrap(text, font, 90, 3)
        assert len(lines) <= 3
        assert all(font.getlength(line) <= 90 for line in lines)
    assert wrap("x" * 99, font, 90, 3)[-1].endswith("…")


def test_duplicates_by_hand() -> None:
    assert exact_duplicates(np.array([5, 7, 5, 9, 7, 5], dtype=np.uint64)) == [[0, 2, 5], [1, 4]]
    hashes = np.array([0b1111, 0b1011, 1 << 40, 0b1111], dtype=np.uint64)
    thumbnails = np.tile(np.linspace(0, 255, 256, dtype=np.float32), (4, 1))
    thumbnails[3] = thumbnails[3][::-1]  # the same hash, but another picture
    assert near_duplicates(hashes, thumbnails) == [[0, 1], [2]] or near_duplicates(hashes, thumbnails) == [
        [0, 1]
    ]
    assert near_duplicates(hashes[:0], thumbnails[:0]) == []


def pictures_with(folder: Path, captions: list[str], labels: list[str]) -> Path:
    lines = ["image,caption,label"]
    for number, (caption, label) in enumerate(zip(captions, labels, strict=True)):
        photo(number).save(folder / f"{number}.png")
        lines.append(f"{number}.png,{caption},{label}")
    (folder / "t.csv").write_text("\n".join(lines) + "\n")
    return folder / "t.csv"


def test_records_that_lack_something_are_counted(tmp_path: Path) -> None:
    table = pictures_with(tmp_path, ["one", "two", "", "", "", ""], ["a", "a", "b", "b", "b", ""])
    report = inspect_source(DataConfig(source=str(table), cache_dir=str(tmp_path / "cache")))
    assert report.lacking == {"caption": 4, "label": 1}
    stream = io.StringIO()
    print_report(report, Console(file=stream, width=120))
    assert "without a caption 4, without a label 1" in stream.getvalue()


def test_records_that_name_no_split_are_counted_apart(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    rows = [f"sentence number {n},{'train' if n < 3 else ''}" for n in range(4)]
    path.write_text("\n".join(["caption,split", *rows]))
    report = inspect_source(DataConfig(source=str(path), cache_dir=str(tmp_path / "cache")))
    assert report.counts == {"train": 3, "no split": 1}
    assert report.notes == ["1 record names no split, and training leaves it out"]
    path.write_text("caption\none sentence\n")
    assert inspect_source(DataConfig(source=str(path))).counts == {"all": 1}


def test_an_empty_column_is_called_empty(tmp_path: Path) -> None:
    table = pictures_with(tmp_path, [""] * 4, ["a", "b"] * 2)
    config = DataConfig(source=str(table), cache_dir=str(tmp_path / "cache"))
    with pytest.raises(SourceError, match=r"texts are needed, and its column caption is empty\."):
        prepare(config, image_size=32, needs=Needs("image", "text"), progress=False)


def test_a_single_class_is_said(tmp_path: Path) -> None:
    (tmp_path / "pets" / "cats").mkdir(parents=True)
    for number in range(4):
        photo(number).save(tmp_path / "pets" / "cats" / f"{number}.png")
    config = DataConfig(source=str(tmp_path / "pets"), cache_dir=str(tmp_path / "cache"))
    assert any("only one class" in note for note in inspect_source(config).notes)
    with pytest.raises(SourceError, match="all images lie in cats/: only one class"):
        prepare(config, image_size=32, needs=Needs("image", "label"), progress=False)


def test_a_header_in_another_encoding_names_the_option(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_bytes("图片,标题\n1.png,一只鸟\n".encode("gb18030"))
    with pytest.raises(SourceError, match=r"--data\.encoding gb18030"):
        inspect_source(DataConfig(source=str(tmp_path / "t.csv")))
