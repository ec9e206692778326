"""Every bad input, made on the spot: set aside with its reason and place, or read as it should be."""

from __future__ import annotations

import csv
import io
import json
import os
import struct
import zlib
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from likewise.data import DataConfig, Splits, open_source, prepare
from likewise.data.columns import Needs
from likewise.data.images.decode import decode_square, decode_upright
from likewise.data.sources.path_resolver import PathResolver
from likewise.errors import DataError, RecordError, SourceError, TooManyBadRecords


def encoded(image: Image.Image, kind: str = "PNG", **options: object) -> bytes:
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


def photo(seed: int = 0, size: tuple[int, int] = (48, 40)) -> Image.Image:
    noise = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    return Image.fromarray(noise)


def bomb() -> bytes:
    """A PNG of a few hundred bytes that says it is 60,000 x 60,000 pixels."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0)
    pixels = chunk(b"IDAT", zlib.compress(b"\0" * 100))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + pixels + chunk(b"IEND", b"")


def bomb_in_an_icon() -> bytes:
    """An ICNS that says it is 128 x 128 pixels, and holds that PNG."""
    held = bomb()
    return b"icns" + struct.pack(">I", len(held) + 16) + b"ic07" + struct.pack(">I", len(held) + 8) + held


def folder_of(root: Path, name: str, data: bytes) -> Path:
    """Four good pictures and one more file."""
    (root / "images").mkdir(parents=True)
    for number in range(4):
        (root / "images" / f"good_{number}.png").write_bytes(encoded(photo(number)))
    (root / "images" / name).write_bytes(data)
    return root


def open_folder(root: Path, **options: object) -> Splits:
    settings = {"max_bad_share": 0.5, "cache_dir": str(root.parent / "cache")} | options
    return prepare(DataConfig(source=str(root), **settings), image_size=32, needs=Needs("image"))


BAD_IMAGES: dict[str, tuple[str, Callable[[], bytes], str]] = {
    "truncated JPEG": ("bad.jpg", lambda: encoded(photo(size=(200, 200)), "JPEG")[:3000], "truncated"),
    "truncated PNG": ("bad.png", lambda: encoded(photo(size=(100, 100)))[:5000], "truncated"),
    "not an image": ("bad.jpg", lambda: b"<html>404 not found</html>", "not an image"),
    "zero bytes": ("bad.jpg", lambda: b"", "zero bytes"),
    "decompression bomb": ("bad.png", bomb, "absurdly large"),
    "decompression bomb in an icon": ("bad.png", bomb_in_an_icon, "absurdly large"),
    "a program for a printer": ("bad.jpg", lambda: encoded(photo(), "EPS"), "not an image"),
    "one pixel": ("bad.png", lambda: encoded(Image.new("RGB", (1, 1))), "1 x 1 pixels"),
    "one line": ("bad.png", lambda: encoded(Image.new("RGB", (50, 1))), "50 x 1 pixels"),
}


@pytest.mark.parametrize("case", BAD_IMAGES)
@pytest.mark.parametrize("cache", [True, False])
def test_bad_image_is_set_aside_with_reason_and_place(tmp_path: Path, case: str, cache: bool) -> None:
    name, make, reason = BAD_IMAGES[case]
    splits = open_folder(folder_of(tmp_path / "data", name, make()), cache=cache)
    (bad,) = splits.bad_records
    assert bad.reason.startswith(reason)
    assert bad.place == f"images/{name}"
    assert splits.summary["bad_records"] == 1
    assert splits.validation is not None
    assert len(splits.train) + len(splits.validation) == 4
    assert f"images/{name}" not in splits.train.ids + splits.validation.ids


def grey_16_bit() -> Image.Image:
    return Image.fromarray(np.full((20, 20), 0x8000, dtype=np.uint16))


def palette_with_alpha() -> bytes:
    image = Image.new("P", (20, 20), 1)
    image.putpalette([255, 0, 0, 0, 0, 255])
    image.paste(0, (0, 0, 10, 20))
    return encoded(image, transparency=1)  # red on the left, nothing on the right


def animated() -> bytes:
    frames = [Image.new("RGB", (20, 20), colour) for colour in ("red", "lime", "blue")]
    return encoded(frames[0], "GIF", save_all=True, append_images=frames[1:])


def turned_by_exif(orientation: int, kind: str = "JPEG") -> bytes:
    upright = Image.new("RGB", (40, 20), "blue")
    upright.paste((255, 0, 0), (0, 0, 20, 20))  # red on the left
    undo = {3: Image.Transpose.ROTATE_180, 6: Image.Transpose.ROTATE_90, 8: Image.Transpose.ROTATE_270}
    exif = Image.Exif()
    exif[0x0112] = orientation
    return encoded(upright.transpose(undo[orientation]), kind, exif=exif, quality=95)


def colour_at(image: Image.Image, x: int, y: int) -> tuple[int, ...]:
    return tuple(np.asarray(image)[y, x].tolist())


def test_cmyk_becomes_rgb() -> None:
    data = encoded(Image.new("CMYK", (20, 20), (0, 255, 255, 0)), "JPEG", quality=95)
    image = decode_upright(data)
    assert image.mode == "RGB"
    red, green, blue = colour_at(image, 5, 5)
    assert red > 230
    assert max(green, blue) < 30


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_16_bits_are_scaled_not_clipped(kind: str) -> None:
    assert colour_at(decode_upright(encoded(grey_16_bit(), kind)), 3, 3) == (128, 128, 128)


def test_floating_values_between_0_and_1_are_scaled() -> None:
    data = encoded(Image.fromarray(np.full((9, 9), 0.5, dtype=np.float32)), "TIFF")
    assert colour_at(decode_upright(data), 3, 3) == (128, 128, 128)


def test_values_that_are_not_finite_are_bad() -> None:
    data = encoded(Image.fromarray(np.full((9, 9), np.nan, dtype=np.float32)), "TIFF")
    with pytest.raises(RecordError, match="not finite"):
        decode_upright(data)


def test_palette_with_alpha_lies_on_white() -> None:
    image = decode_upright(palette_with_alpha())
    assert colour_at(image, 2, 5) == (255, 0, 0)
    assert colour_at(image, 17, 5) == (255, 255, 255)


@pytest.mark.parametrize(("mode", "colour"), [("RGBA", (10, 20, 30, 0)), ("LA", (10, 0))])
def test_alpha_lies_on_white(mode: str, colour: tuple[int, ...]) -> None:
    assert colour_at(decode_upright(encoded(Image.new(mode, (9, 9), colour))), 4, 4) == (255, 255, 255)


def test_of_an_animation_the_first_frame_counts() -> None:
    assert colour_at(decode_upright(animated()), 5, 5) == (255, 0, 0)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
@pytest.mark.parametrize("orientation", [3, 6, 8])
def test_exif_rotation_is_turned_upright(orientation: int, kind: str) -> None:
    image = decode_upright(turned_by_exif(orientation, kind))
    assert image.size == (40, 20)
    assert colour_at(image, 5, 10)[0] > 200  # red is on the left
    assert colour_at(image, 35, 10)[2] > 200
    square, own_size = decode_square(turned_by_exif(orientation, kind), size=10, fit="squash")
    assert own_size == (40, 20)
    assert square[0, 5, 1] > 200


@pytest.mark.filterwarnings("ignore:Corrupt EXIF data")
def test_damaged_exif_does_not_spoil_a_good_picture() -> None:
    data = encoded(photo(), "JPEG", exif=b"Exif\x00\x00MM\x00*\xff\xff\xff\xff")
    assert decode_upright(data).size == (48, 40)


def test_unusual_but_good_pictures_are_all_used(tmp_path: Path) -> None:
    root = folder_of(tmp_path / "data", "cmyk.jpg", encoded(Image.new("CMYK", (20, 20)), "JPEG"))
    images = {
        "deep.png": encoded(grey_16_bit()),
        "palette.png": palette_with_alpha(),
        "animated.gif": animated(),
    }
    images |= {"turned.jpg": turned_by_exif(6), "grey.bmp": encoded(photo().convert("L"), "BMP")}
    for name, data in images.items():
        (root / "images" / name).write_bytes(data)
    splits = open_folder(root)
    assert splits.bad_records == []
    assert sum(splits.summary["counts"].values()) == 10


def test_jpeg_is_never_decoded_below_the_stored_size() -> None:
    data = encoded(photo(size=(400, 300)), "JPEG")
    for size in (20, 37, 38, 64, 75, 76, 150, 151, 300):
        assert min(decode_upright(data, shrink_to=size).size) >= size
        assert max(decode_upright(data, shrink_to=size, fit="pad").size) >= size
        assert decode_square(data, size=size, fit="pad")[0].shape == (3, size, size)
    assert decode_upright(data, shrink_to=37).size == (50, 38)  # 1/8: the point of it


def test_shrinking_averages_over_the_area() -> None:
    stripes = np.zeros((128, 128, 3), np.uint8)
    stripes[:, ::2] = 255  # sampling single pixels would give all black or all white
    square, _ = decode_square(encoded(Image.fromarray(stripes)), size=16, fit="crop")
    assert np.abs(square.astype(int) - 127).max() <= 4


# Tables


def write_table(root: Path, rows: list[str], *, name: str = "captions.csv", encoding: str = "utf-8") -> Path:
    """Pictures 0.png to 9.png, and a table with these rows below its header."""
    root.mkdir(parents=True, exist_ok=True)
    for number in range(10):
        (root / f"{number}.png").write_bytes(encoded(photo(number)))
    path = root / name
    path.write_bytes("\n".join(["image,caption", *rows, ""]).encode(encoding, errors="surrogateescape"))
    return path


def open_table(path: Path, **options: object) -> Splits:
    settings = {"max_bad_share": 0.5, "cache_dir": str(path.parent.parent / "cache")} | options
    return prepare(DataConfig(source=str(path), **settings), image_size=32, needs=Needs("image", "text"))


def good_rows(count: int = 9) -> list[str]:
    return [f"{number}.png,a picture of number {number}" for number in range(count)]


BAD_ROWS = {
    "missing path": ("nowhere.png,a caption", "missing"),
    "empty path": (",a caption", "no image"),
    "outside": ("../secret.png,a caption", "the path leads outside"),
    "outside, absolute": ("/etc/hostname.png,a caption", "the path leads outside"),
    "outside, Windows": ("..\\..\\secret.png,a caption", "the path leads outside"),
    "network": ("https://example.org/1.png,a caption", "an address on the network"),
    "empty caption": ("9.png,", "empty caption"),
    "blank caption": ("9.png,   ", "empty caption"),
    "megabyte": ("9.png," + "long " * 210_000, "caption too long"),
    "wrong encoding": ("9.png,caf\udce9 au lait", "wrong encoding"),
    "too many fields": ("9.png,one,two", "3 fields"),
}


@pytest.mark.parametrize("case", BAD_ROWS)
def test_bad_row_is_set_aside_with_reason_and_place(tmp_path: Path, case: str) -> None:
    row, reason = BAD_ROWS[case]
    (tmp_path / "secret.png").write_bytes(encoded(photo()))
    rows = good_rows()
    rows.insert(3, row)
    splits = open_table(write_table(tmp_path / "data", rows))
    assert splits.bad_records[0].reason.startswith(reason)
    assert splits.bad_records[0].place == "captions.csv:5"
    assert sum(splits.summary["counts"].values()) == 9


BAD_LINES = {
    "label": (b'{"image": "9.png", "caption": "x", "label": "caf\xe9"}', "wrong encoding: the label"),
    "group": (b'{"image": "9.png", "caption": "x", "group": "\\ud83d"}', "wrong encoding: the group"),
    "id": (b'{"image": "9.png", "caption": "x", "id": "caf\xe9"}', "wrong encoding: the id"),
    "split": (b'{"image": "9.png", "caption": "x", "split": "caf\xe9"}', "wrong encoding: the split"),
    "path": (b'{"image": "caf\xe9.png", "caption": "x"}', "wrong encoding: the image path"),
    "path of half a sign": (b'{"image": "\\ud83d.png", "caption": "x"}', "wrong encoding: the image path"),
    "name": (b'{"image": "9.png", "caption": "x", "caf\xe9": 1}', "wrong encoding: a name in it"),
    "digits": (b'{"image": "9.png", "caption": "x", "n": %s}' % (b"1" * 5000), "no valid JSON"),
    "brackets": (b"[" * 100_000, "no valid JSON"),
}


@pytest.mark.parametrize("case", BAD_LINES)
def test_a_bad_line_of_json_is_set_aside_and_can_be_saved(tmp_path: Path, case: str) -> None:
    line, reason = BAD_LINES[case]
    path = write_table(tmp_path / "data", []).with_name("t.jsonl")
    said = {"label": "a", "group": "b", "split": "train"}
    lines = [json.dumps({"image": f"{n}.png", "caption": "a", **said, "id": n}).encode() for n in range(9)]
    path.write_bytes(b"\n".join([*lines[:3], line, *lines[3:]]))
    splits = open_table(path)
    assert splits.bad_records[0].reason.startswith(reason)
    assert splits.bad_records[0].place == "t.jsonl:4"
    assert splits.summary["bad_records"] == 1
    json.dumps([splits.summary, *map(asdict, splits.bad_records)], ensure_ascii=False).encode()


@pytest.mark.parametrize("cell", ["1" * 5000, "[" * 100_000])
def test_a_json_list_that_python_cannot_read_is_named(tmp_path: Path, cell: str) -> None:
    (tmp_path / "t.json").write_text(f'[{{"image": "1.png", "n": {cell}}}]')
    with pytest.raises(SourceError, match=r"t\.json: no valid JSON"):
        open_table(tmp_path / "t.json")


def test_a_path_that_the_system_cannot_spell_is_bad(tmp_path: Path) -> None:
    with pytest.raises(RecordError, match="no valid text in this system's encoding"):
        PathResolver(str(tmp_path)).resolve("\ud83d.png")


def test_links_that_lead_outside_are_bad_unless_followed(tmp_path: Path) -> None:
    path = write_table(tmp_path / "data", [*good_rows(), "link.png,a caption", "far/x.png,another"])
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "x.png").write_bytes(encoded(photo(77)))
    os.symlink(tmp_path / "elsewhere" / "x.png", path.parent / "link.png")
    os.symlink(tmp_path / "elsewhere", path.parent / "far")
    splits = open_table(path)
    assert [bad.place for bad in splits.bad_records] == ["captions.csv:11", "captions.csv:12"]
    assert all("symbolic link" in bad.reason for bad in splits.bad_records)
    assert open_table(path, follow_links=True).bad_records == []


def test_links_that_go_round_in_a_circle_are_bad_or_passed_over(tmp_path: Path) -> None:
    root = folder_of(tmp_path / "data", "round.png", b"")
    for name in ("round.png", "around"):
        (root / "images" / name).unlink(missing_ok=True)
        os.symlink(root / "images" / name, root / "images" / name)
    splits = open_folder(root)
    assert [bad.place for bad in splits.bad_records] == ["images/round.png"]
    assert splits.bad_records[0].reason.startswith("the file cannot be reached")
    assert "skipped 1 other files: 1 .around" in splits.summary["notes"]


def test_captions_that_cannot_be_reached_are_bad_and_their_pictures_stay(tmp_path: Path) -> None:
    root = folder_of(tmp_path / "data", "good_0.txt", b"a first\n")
    (tmp_path / "elsewhere.txt").write_text("a second\n")
    os.symlink(tmp_path / "elsewhere.txt", root / "images" / "good_1.txt")
    os.symlink(root / "nowhere", root / "images" / "good_2.txt")
    source = open_source(DataConfig(source=str(root)))
    assert [record.texts for record in source.records] == [("a first",), (), (), ()]
    found = {problem.bad.place: (problem.part, problem.bad.reason) for problem in source.problems}
    assert set(found) == {"good_1.txt", "good_2.txt"}
    assert found["good_1.txt"][1].startswith("a symbolic link leads outside")
    assert found["good_2.txt"][1].startswith("missing")
    assert {part for part, _ in found.values()} == {"text"}
    followed = open_source(DataConfig(source=str(root), follow_links=True))
    assert [record.texts for record in followed.records] == [("a first",), ("a second",), (), ()]
    assert [problem.bad.place for problem in followed.problems] == ["good_2.txt"]


def test_empty_caption_among_several_drops_only_that_caption(tmp_path: Path) -> None:
    rows = [*good_rows(), "0.png,", "0.png,a third caption"]
    splits = open_table(write_table(tmp_path / "data", rows), validation_share=0.01)
    assert splits.summary["bad_records"] == 0
    assert splits.summary["dropped_captions"] == 1
    assert [(bad.place, bad.reason) for bad in splits.bad_records] == [("captions.csv:11", "empty caption")]
    texts = {t for part in (splits.train, splits.validation) if part is not None for t in part.texts or []}
    assert ("a picture of number 0", "a third caption") in texts


def test_a_table_in_another_encoding_is_read_when_it_is_named(tmp_path: Path) -> None:
    rows = [f"{number}.png,一张数字{number}的图片" for number in range(9)]
    path = write_table(tmp_path / "data", rows, encoding="gb18030")
    with pytest.raises(TooManyBadRecords, match="wrong encoding"):
        open_table(path, max_bad_share=0.01)
    splits = open_table(path, encoding="gb18030")
    assert splits.train.texts is not None
    assert splits.train.texts[0][0].startswith("一张数字")


def test_utf_16_and_byte_order_marks_are_understood(tmp_path: Path) -> None:
    path = write_table(tmp_path / "data", good_rows(), encoding="utf-16")
    assert sum(open_table(path).summary["counts"].values()) == 9
    path = write_table(tmp_path / "data", good_rows(), encoding="utf-8-sig")
    assert sum(open_table(path).summary["counts"].values()) == 9


def places_and_texts(splits: Splits) -> tuple[list[str], set[str]]:
    """Of the bad records, and of the good ones."""
    parts = [part for part in (splits.train, splits.validation) if part is not None]
    texts = {text for part in parts for row in part.texts or [] for text in row}
    return [bad.place for bad in splits.bad_records], texts


@pytest.mark.parametrize(
    "closing", ['5.png,"another lone one', '5.png,tall 5"', '5.png,"one, with a comma"', ""]
)
def test_a_stray_quote_swallows_only_its_own_row(tmp_path: Path, closing: str) -> None:
    rows = good_rows()
    rows[2] = '2.png,"a lone quote'
    rows[5] = closing or rows[5]
    splits = open_table(write_table(tmp_path / "data", rows))
    places, texts = places_and_texts(splits)
    lone = closing.startswith('5.png,"another')  # of which one swallows the other, and is itself left open
    assert places == ["captions.csv:4", "captions.csv:7"][: 1 + lone]
    assert len(texts) == 8 - lone
    assert "a picture of number 3" in texts
    how = "runs over 4 lines" if closing else "is still open at the end of the file, 7 lines on"
    assert splits.bad_records[0].reason == f"a quoted field {how} (a stray quote?)"


def test_a_stray_quote_is_found_wherever_the_pictures_stand(tmp_path: Path) -> None:
    path = write_table(tmp_path / "data", [])
    path.write_text('caption,image\n"a lone quote,1.png\nfine,2.png\n"another,3.png\nfine too,4.png\n')
    places, texts = places_and_texts(open_table(path))
    assert (places, texts) == (["captions.csv:2", "captions.csv:4"], {"fine", "fine too"})


def test_a_stray_quote_among_texts_alone_takes_ten_lines_to_be_sure(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    for swallowed, num_bad, num_records in ((10, 1, 11), (9, 0, 2)):
        lines = [f"b,number {number}" for number in range(swallowed - 1)] + ['c,tall 5"', "d,the next row"]
        path.write_text("\n".join(["label,text", 'a,"a lone quote', *lines, ""]))
        source = open_source(DataConfig(source=str(path)))
        assert (len(source.problems), len(source.records)) == (num_bad, num_records)


@pytest.mark.parametrize("order", [[0, 1], [1, 0]])
def test_captions_of_several_lines_are_read(tmp_path: Path, order: list[int]) -> None:
    captions = ["a dog\nruns, fast", 'says "no"\nand,\nleaves', "one\r\n\r\ntwo, three\r\nfour,five"]
    path = write_table(tmp_path / "data", [])
    with path.open("w", newline="") as stream:
        rows = [["image", "caption"], *([f"{n}.png", text] for n, text in enumerate(captions))]
        csv.writer(stream).writerows([[row[n] for n in order] for row in rows])
    assert places_and_texts(open_table(path)) == ([], set(captions))


def test_an_open_quote_at_the_end_is_bad(tmp_path: Path) -> None:
    splits = open_table(write_table(tmp_path / "data", [*good_rows(), '9.png,"never closed']))
    assert sum(splits.summary["counts"].values()) == 9
    assert [bad.place for bad in splits.bad_records] == ["captions.csv:11"]
    assert splits.bad_records[0].reason.startswith("a quoted field is still open at the end")
    path = tmp_path / "t.csv"
    path.write_text('image,"caption\n1.png,one\n2.png,two\n')
    with pytest.raises(SourceError, match=r"t\.csv: line 1, the header: a quoted field is still open"):
        open_table(path)


def test_too_many_bad_records_names_the_first_ten(tmp_path: Path) -> None:
    rows = good_rows(4) + [f"missing_{number}.png,a caption" for number in range(12)]
    with pytest.raises(TooManyBadRecords) as caught:
        open_table(write_table(tmp_path / "data", rows), max_bad_share=0.01)
    message = str(caught.value)
    assert "12 of 16 records (75.0%)" in message
    assert "captions.csv:6: missing" in message
    assert "missing_9.png" in message
    assert "missing_10.png" not in message


def test_a_table_without_any_good_record_says_so(tmp_path: Path) -> None:
    with pytest.raises((TooManyBadRecords, SourceError), match="missing"):
        open_table(write_table(tmp_path / "data", ["nowhere.png,a caption"]))
    path = tmp_path / "data" / "empty.csv"
    path.write_text("")
    with pytest.raises(SourceError, match="empty"):
        open_table(path)


def test_a_failing_disk_is_no_bad_record(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = folder_of(tmp_path / "data", "x.png", encoded(photo()))

    def fail(address: str) -> bytes:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr("likewise.data.images.refs.read_whole", fail)
    with pytest.raises(DataError, match="Input/output error"):
        open_folder(root)
