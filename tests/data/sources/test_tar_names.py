"""Which members of a tar shard are one record, and shards that lie."""

from __future__ import annotations

import io
import json
import tarfile
from pathlib import Path

import pytest

from likewise.data import DataConfig, Source, open_source

Members = list[tuple[str, bytes]]


def write_tar(path: Path, members: Members) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w") as archive:
        for name, data in members:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return path


def opened(path: Path, members: Members | None = None, **options: str) -> Source:
    if members is not None:
        write_tar(path, members)
    return open_source(DataConfig(source=str(path), **options))


def pairs(names: list[str]) -> Members:
    """An image and a caption of each name."""
    return [m for n in names for m in ((f"{n}.png", f"image {n}".encode()), (f"{n}.txt", f"of {n}".encode()))]


def listed(source: Source) -> list[tuple[bytes | None, tuple[str, ...]]]:
    return [(record.image and record.image.read(), record.texts) for record in source.records]


NAMES = {
    "plain": [f"{i:03}" for i in range(4)],
    "numbers": [f"IMG.2019.{i}" for i in range(4)],
    "dots in folders": [f"run/22.0/{i}" for i in range(4)],
    "one dotted each": [f"Track {i}.0 (clean)" for i in range(4)],
    "all different": [f"cat v{i}.{i} big" for i in range(4)],
    "few dotted": ["0", "1", "v1.5 big", "2"],
    "same first part": ["scan.cat", "scan.dog", "1.cat", "2"],
}


@pytest.mark.parametrize("case", NAMES)
@pytest.mark.parametrize("order", ["by name", "images first"])
def test_an_image_and_its_caption_have_one_stem_whatever_dots_the_name_has(
    tmp_path: Path, case: str, order: str
) -> None:
    members = pairs(NAMES[case])
    if order == "images first":
        members.sort(key=lambda member: member[0].endswith(".txt"))
    source = opened(tmp_path / "s.tar", members)
    assert sorted(listed(source)) == sorted((f"image {n}".encode(), (f"of {n}",)) for n in NAMES[case])
    assert {record.id for record in source.records} == {f"s.tar/{name}" for name in NAMES[case]}
    assert source.notes == []


def test_suffixes_that_recur_are_views_of_one_record(tmp_path: Path) -> None:
    members = [(f"{i}.{side}.png", side.encode()) for i in range(3) for side in ("left", "right")]
    members += [(f"{i}.json", json.dumps({"caption": f"of {i}"}).encode()) for i in range(3)]
    source = opened(tmp_path / "s.tar", sorted(members))
    assert sorted(listed(source)) == [(b"left", (f"of {i}",)) for i in range(3)]
    assert source.notes == ["3 records hold several images; of 0 left.png was taken and right.png skipped"]


def test_members_that_belong_to_no_image_are_noted(tmp_path: Path) -> None:
    members = [("v1.5 big.png", b"image"), ("v1.5.txt", b"of v1.5"), ("0.png", b"0"), ("0.txt", b"of 0")]
    source = opened(tmp_path / "s.tar", members)
    assert listed(source) == [(b"image", ()), (b"0", ("of 0",))]
    assert source.notes == [
        "1 members are named like no image up to their last dot, and are not read with one (v1.5.txt)"
    ]


def test_members_of_the_same_name_are_records_of_their_own(tmp_path: Path) -> None:
    twice = [*pairs(["000", "001"]), ("001.png", b"another"), ("001.txt", b"of another")]
    source = opened(tmp_path / "s.tar", twice)
    assert listed(source)[1:] == [(b"image 001", ("of 001",)), (b"another", ("of another",))]
    assert [record.id for record in source.records] == ["s.tar/000", "s.tar/001", "s.tar/001#2"]
    assert source.notes == [
        "1 members have the name of an earlier one (001.png); each begins a record of its own"
    ]
    source = opened(tmp_path / "s.tar", [("same.png", bytes([i])) for i in range(40)])
    assert len({image for image, _ in listed(source)}) == 40
    source = opened(tmp_path / "s.tar", [("x.PNG", b"upper"), ("x.png", b"lower"), ("x.txt", b"a dog")])
    assert listed(source) == [(b"upper", ()), (b"lower", ("a dog",))]
    assert len(source.notes) == 1


def test_labels_of_shards_that_are_whole_numbers_have_one_name(tmp_path: Path) -> None:
    for split, label in (("train", 1.0), ("val", 1)):
        members = [("0.png", b"0"), ("0.json", json.dumps({"label": label}).encode()), ("1.png", b"1")]
        write_tar(tmp_path / f"{split}-0.tar", [*members, ("1.cls", b"0.0")])
    assert [record.label for record in opened(tmp_path).records] == ["1", "0", "1", "0"]


def with_size(path: Path, number: int, size: bytes) -> None:
    """Replace the size in a member's header, and correct the header's sum."""
    with tarfile.open(path) as archive:
        start = archive.getmembers()[number].offset
    data = bytearray(path.read_bytes())
    data[start + 124 : start + 136] = size
    data[start + 148 : start + 156] = b" " * 8
    data[start + 148 : start + 156] = b"%06o\0 " % sum(data[start : start + 512])
    path.write_bytes(data)


@pytest.mark.parametrize("size", [b"77777777777\0", b"\x80" + bytes(3) + b"\x7f" * 8])
def test_a_size_that_goes_beyond_the_shard_makes_a_bad_record(tmp_path: Path, size: bytes) -> None:
    path = write_tar(tmp_path / "s.tar", pairs(["0", "1", "2"]))
    with_size(path, 2, size)
    source = opened(path)
    assert listed(source) == [(b"image 0", ("of 0",))]
    assert [problem.bad.place for problem in source.problems] == ["s.tar/1", "s.tar"]
    assert source.problems[0].bad.reason == "truncated: the shard ends before this image does"


def test_a_negative_size_ends_the_shard(tmp_path: Path) -> None:
    path = write_tar(tmp_path / "s.tar", pairs(["0", "1", "2"]))
    with_size(path, 2, b"\xff" * 10 + b"\xfc\x00")
    source = opened(path)
    assert listed(source) == [(b"image 0", ("of 0",))]
    assert len(source.problems) == 1


def test_a_caption_of_many_megabytes_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("likewise.data.sources.tar_shards.MAX_CAPTION_BYTES", 10)
    source = opened(tmp_path / "s.tar", [("0.png", b"0"), ("0.txt", b"a caption of more than ten bytes")])
    assert listed(source) == [(b"0", ())]
    assert source.problems[0].bad.reason == "its .txt of 32 bytes is too large to read"
