"""The decoded cache: built once, whole or absent, whoever builds it and however that ends."""

from __future__ import annotations

import errno
import json
import os
import pickle
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from filelock import FileLock
from PIL import Image

from likewise.data import DataConfig, Splits, prepare
from likewise.data.columns import Needs
from likewise.data.images import cache as cache_module
from likewise.data.images import cache_build
from likewise.data.images import refs as images_module
from likewise.data.images.refs import FileImage, ParquetImage
from likewise.data.images.stores import CachedPixels, DecodedPixels
from likewise.errors import DataError, OutOfReach, RecordError

SOURCE = str(Path(__file__).parents[3] / "src")


def write_photos(folder: Path, count: int, size: int = 40) -> Path:
    folder.mkdir()
    for number in range(count):
        noise = np.random.default_rng(number).integers(0, 256, (size, size, 3), dtype=np.uint8)
        Image.fromarray(noise).save(folder / f"{number:04d}.jpg")
    return folder


def open_photos(folder: Path, **options: Any) -> Splits:
    settings = {"cache_dir": str(folder.parent / "cache")} | options
    return prepare(DataConfig(source=str(folder), **settings), image_size=16, needs=Needs("image"))


def caches(folder: Path) -> list[Path]:
    return sorted(path.parent for path in (folder.parent / "cache").glob("*/cache.json"))


def all_pixels(splits: Splits) -> np.ndarray:
    return splits.train.images(range(len(splits.train))).numpy()


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Counts the pictures that are decoded into a cache, and not those that are decoded at their use."""
    counted: list[int] = []
    decode = cache_build.decode_square

    def counting(data: bytes, *, size: int, fit: str) -> Any:
        if not threading.current_thread().name.startswith("decode"):
            counted.append(len(data))
        return decode(data, size=size, fit=fit)

    monkeypatch.setattr(cache_build, "decode_square", counting)
    return counted


def test_a_second_run_decodes_nothing(tmp_path: Path, decoded: list[int]) -> None:
    folder = write_photos(tmp_path / "photos", 30)
    first = open_photos(folder)
    assert len(decoded) == 30
    second = open_photos(folder)
    assert len(decoded) == 30
    assert np.array_equal(all_pixels(first), all_pixels(second))
    assert first.train.fingerprint == second.train.fingerprint
    assert isinstance(first.train.pixels, CachedPixels)
    assert first.train.store_size == 24  # 1.25 x 16, to a multiple of 8


def test_changed_files_and_settings_make_another_cache(tmp_path: Path, decoded: list[int]) -> None:
    folder = write_photos(tmp_path / "photos", 10)
    for options in ({}, {"fit": "pad"}, {"store_size": 16}):
        open_photos(folder, **options)
    assert len(caches(folder)) == 3
    changed = folder / "0003.jpg"
    changed.write_bytes((folder / "0004.jpg").read_bytes())
    os.utime(changed, ns=(1, 1))
    splits = open_photos(folder)
    assert len(caches(folder)) == 4
    assert (
        splits.summary["groups"]["train"] + splits.summary["groups"]["validation"] == 9
    )  # two are equal now


def test_decoding_at_every_use_gives_the_same_pixels_groups_and_bad_records(tmp_path: Path) -> None:
    folder = write_photos(tmp_path / "photos", 20)
    (folder / "0000.jpg").write_bytes(b"nothing")
    shutil.copy(folder / "0001.jpg", folder / "0002.jpg")
    stored = open_photos(folder, max_bad_share=0.1)
    streamed = open_photos(folder, max_bad_share=0.1, cache=False, cache_dir=str(tmp_path / "other"))
    assert isinstance(streamed.train.pixels, DecodedPixels)
    assert not list((tmp_path / "other").rglob("images.npy"))
    assert np.array_equal(all_pixels(stored), all_pixels(streamed))
    assert stored.bad_records == streamed.bad_records
    assert stored.train.ids == streamed.train.ids
    assert stored.train.groups.tolist() == streamed.train.groups.tolist()
    copied = pickle.loads(pickle.dumps(streamed.train))
    assert np.array_equal(copied.images([3]).numpy(), streamed.train.images([3]).numpy())
    (folder / streamed.train.ids[0]).unlink()
    with pytest.raises(RecordError, match=rf"{streamed.train.ids[0]}: missing"):
        streamed.train.images([0])


@pytest.mark.parametrize("cache", [True, False])
def test_what_was_out_of_reach_is_read_again(
    cache: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, decoded: list[int]
) -> None:
    """A mount that blinks changes neither a file's size nor its time."""
    photos = write_photos(tmp_path / "photos", 70)
    (photos / "0066.jpg").write_bytes(b"no picture")
    options: dict[str, Any] = {"cache": cache, "max_bad_share": 0.1}
    whole = open_photos(photos, cache_dir=str(tmp_path / "other"), **options)
    read = FileImage.read

    def blinking(ref: FileImage) -> bytes:
        if ref.address.endswith(("0003.jpg", "0065.jpg")):
            raise OutOfReach("may not be read (permission denied)")
        return read(ref)

    for _ in range(2):  # it still does when the finished cache is opened
        with monkeypatch.context() as patch:
            patch.setattr(FileImage, "read", blinking)
            assert [Path(bad.id).name for bad in open_photos(photos, **options).bad_records] == [
                "0003.jpg",
                "0065.jpg",
                "0066.jpg",
            ]
    decoded.clear()
    again = open_photos(photos, **options)
    assert len(decoded) == 2
    assert again.summary["fingerprint"] == whole.summary["fingerprint"]
    assert [Path(bad.id).name for bad in again.bad_records] == ["0066.jpg"]
    np.testing.assert_array_equal(all_pixels(again), all_pixels(whole))
    decoded.clear()
    open_photos(photos, **options)
    assert decoded == []


def test_a_full_disk_streams_with_a_warning(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = write_photos(tmp_path / "photos", 8)
    full = shutil.disk_usage(tmp_path)._replace(free=1000)
    monkeypatch.setattr(cache_module.shutil, "disk_usage", lambda path: full)
    with pytest.warns(UserWarning, match=r"decoded at every use instead.*cache-dir"):
        splits = open_photos(folder)
    assert isinstance(splits.train.pixels, DecodedPixels)


def test_a_disk_that_fills_up_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = write_photos(tmp_path / "photos", 8)

    def no_space(path: Path) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(cache_build, "allocate", no_space)
    with pytest.raises(DataError, match=r"disk of .* is full.*cache-dir"):
        open_photos(folder)
    monkeypatch.undo()
    assert len(open_photos(folder).train) > 0


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    folder = write_photos(tmp_path / "photos", 3)
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(DataError, match=r"cannot be written.*cache-dir"):
        open_photos(folder, cache_dir=str(tmp_path / "file" / "cache"))


SLOW_BUILDER = """
import sys, time
from pathlib import Path
from likewise.data.images import cache, cache_build
from likewise.data.images.refs import FileImage
decode = cache_build.decode_square
def slow(data, *, size, fit):
    time.sleep(float(sys.argv[2]))
    return decode(data, size=size, fit=fit)
cache_build.decode_square = slow
cache_build._PIECE, cache_build._SYNC_SECONDS = 4, 0.0
folder = Path(sys.argv[1])
refs = [FileImage(str(path), 0, "") for path in sorted(folder.iterdir())]
print("ready", flush=True)
cache.open_cache(refs, size=16, fit="crop", folder=folder.parent / "cache")
print("done", flush=True)
"""


def start_builder(folder: Path, seconds_each: float) -> subprocess.Popen[str]:
    """A process that builds the cache slowly, in pieces of four."""
    arguments = [sys.executable, "-c", SLOW_BUILDER, str(folder), str(seconds_each)]
    environment = os.environ | {"PYTHONPATH": SOURCE, "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True, env=environment)


def build_here(folder: Path, name: str = "cache") -> np.ndarray:
    """The same cache, built or opened in this process."""
    refs = [FileImage(str(path), 0, "") for path in sorted(folder.iterdir())]
    opened = cache_module.open_cache(refs, size=16, fit="crop", folder=folder.parent / name)
    return np.load(opened.folder / "images.npy")


def wait_for_journal(folder: Path, pieces: int) -> None:
    """Until the builder has written that many lines (the first is empty)."""
    for _ in range(600):
        journals = list((folder.parent / "cache").glob("*.partial/journal.jsonl"))
        if journals and journals[0].read_text().count("\n") >= pieces:
            return
        time.sleep(0.05)
    raise AssertionError("the builder did not get going")


def test_two_processes_at_once_build_one_cache(tmp_path: Path) -> None:
    folder = write_photos(tmp_path / "photos", 60)
    builders = [start_builder(folder, 0.005) for _ in range(2)]
    for builder in builders:
        assert builder.communicate(timeout=120)[0] == "ready\ndone\n"
        assert builder.returncode == 0
    assert len(caches(folder)) == 1
    assert not list((tmp_path / "cache").glob("*.partial"))
    assert np.array_equal(build_here(folder), build_here(folder, "afresh"))


def test_a_killed_builder_leaves_its_work_and_nothing_that_harms(
    tmp_path: Path, decoded: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = write_photos(tmp_path / "photos", 60)
    builder = start_builder(folder, 0.02)
    wait_for_journal(folder, 3)
    builder.send_signal(signal.SIGKILL)
    builder.communicate()
    assert caches(folder) == []  # nothing incomplete has the final name
    (partial,) = (tmp_path / "cache").glob("*.partial")
    lines = (partial / "journal.jsonl").read_text().split("\n")[:-1]
    finished = sum(line != "" for line in lines)
    with open(partial / "journal.jsonl", "a") as journal:
        journal.write("[20, {")  # a line that the kill cut short
    monkeypatch.setattr(cache_build, "_PIECE", 4)
    pixels = build_here(folder)
    assert len(decoded) == 60 - 4 * finished
    assert np.array_equal(pixels, build_here(folder, "afresh"))


def test_what_was_left_long_ago_is_removed(tmp_path: Path) -> None:
    photos = write_photos(tmp_path / "photos", 4)
    cache = tmp_path / "cache"
    for name, age in {"old": 8, "new": 1, "built": 8}.items():
        (cache / f"{name}.partial").mkdir(parents=True)
        (cache / f"{name}.partial" / "images.npy").write_bytes(b"half")
        for path in (cache / f"{name}.partial" / "images.npy", cache / f"{name}.partial"):
            os.utime(path, (time.time() - age * 86400,) * 2)
    with FileLock(str(cache / "built.lock")):  # by another process, however slowly
        open_photos(photos)
    assert sorted(path.name for path in cache.glob("*.partial")) == ["built.partial", "new.partial"]


def test_one_waits_for_a_builder_that_is_then_killed(tmp_path: Path) -> None:
    folder = write_photos(tmp_path / "photos", 60)
    first = start_builder(folder, 0.05)
    wait_for_journal(folder, 2)
    with start_builder(folder, 0.0) as second:
        assert second.stdout is not None
        assert second.stdout.readline() == "ready\n"
        time.sleep(0.2)
        first.send_signal(signal.SIGKILL)
        first.communicate()
        assert second.stdout.read() == "done\n"  # with what readline has buffered
    assert second.returncode == 0
    assert len(caches(folder)) == 1


def test_a_cache_with_a_missing_part_is_built_anew(tmp_path: Path) -> None:
    folder = write_photos(tmp_path / "photos", 12)
    expected = all_pixels(open_photos(folder))
    (cache,) = caches(folder)
    (cache / "cache.json").unlink()
    assert np.array_equal(all_pixels(open_photos(folder)), expected)
    assert json.loads((cache / "cache.json").read_text())["count"] == 12


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-7])


def empty(path: Path) -> None:
    path.write_bytes(b"")


DAMAGES: dict[str, tuple[str, Callable[[Path], object]]] = {
    "empty description": ("cache.json", empty),
    "description of zeros": ("cache.json", lambda path: path.write_bytes(bytes(99))),
    "another description": ("cache.json", lambda path: path.write_text("[]")),
    "empty hashes": ("hashes.npy", empty),
    "sizes cut short": ("sizes.npy", cut),
    "pixels cut short": ("images.npy", cut),
    "no pixels": ("images.npy", Path.unlink),
    "pixels of another size": ("images.npy", lambda path: np.save(path, np.zeros((12, 3, 8, 8), np.uint8))),
}


@pytest.mark.parametrize(
    ("case", "cache"),
    [(case, cache) for case in DAMAGES for cache in (True, False) if cache or "pixels" not in case],
)
def test_a_damaged_cache_is_told_of_and_built_anew(
    case: str, cache: bool, tmp_path: Path, decoded: list[int]
) -> None:
    name, damage = DAMAGES[case]
    folder = write_photos(tmp_path / "photos", 12)
    expected = all_pixels(open_photos(folder, cache=cache))
    (stored,) = caches(folder)
    damage(stored / name)
    with pytest.warns(UserWarning, match=rf"{stored} is damaged \({name}\); it is built again"):
        assert np.array_equal(all_pixels(open_photos(folder, cache=cache)), expected)
    decoded.clear()
    open_photos(folder, cache=cache)
    assert decoded == []


def test_a_damaged_part_of_a_cache_that_was_never_finished_is_made_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = write_photos(tmp_path / "photos", 12)

    def killed(*paths: Path) -> None:
        raise OSError("killed")

    with monkeypatch.context() as patch:
        patch.setattr(cache_build.os, "rename", killed)
        with pytest.raises(DataError, match="killed"):
            open_photos(folder)
    (partial,) = (tmp_path / "cache").glob("*.partial")
    (partial / "journal.jsonl").write_text("[0, 12, {}]\n")
    cut(partial / "hashes.npy")
    expected = open_photos(folder, cache_dir=str(tmp_path / "other"))
    assert open_photos(folder).summary["fingerprint"] == expected.summary["fingerprint"]


def test_a_dataset_sent_to_another_process_opens_the_file_there(tmp_path: Path) -> None:
    train = open_photos(write_photos(tmp_path / "photos", 30)).train
    packed = pickle.dumps(train)
    assert len(packed) < 30_000  # no pixels in it
    assert np.array_equal(pickle.loads(packed).images([4, 2]).numpy(), train.images([4, 2]).numpy())


def test_pieces_of_tables_are_kept_up_to_their_size() -> None:
    from likewise.data.images.refs import _Recent

    loaded = []

    def piece(name: str, size: int) -> Any:
        def load() -> tuple[str, int]:
            loaded.append(name)
            return name, size

        return recent.get(name, load)

    recent = _Recent(capacity_bytes=10)
    for name in "abcab":
        assert piece(name, 3) == name
    assert loaded == ["a", "b", "c"]
    piece("d", 3)  # puts out c, the one not used for longest
    piece("a", 3)
    piece("large", 99)  # larger than all, and still there while it is used
    piece("large", 99)
    assert loaded == ["a", "b", "c", "d", "large"]


def test_pieces_of_tables_are_loaded_side_by_side_and_each_once() -> None:
    from likewise.data.images.refs import _Recent

    loaded, both = [], threading.Barrier(2, timeout=20)

    def load(name: str) -> tuple[str, int]:
        loaded.append(name)
        both.wait()  # until another piece is being loaded
        return name, 1

    recent = _Recent(capacity_bytes=10)
    with ThreadPoolExecutor(8) as pool:
        names = list(pool.map(lambda name: recent.get(name, lambda: load(name)), "abababab"))
    assert "".join(names) == "abababab"
    assert sorted(loaded) == ["a", "b"]


def write_parquet(folder: Path, count: int, *, group: int) -> Path:
    rows = [path.read_bytes() for path in sorted(write_photos(folder, count).iterdir())]
    table = pa.table({"image": pa.array(rows, pa.binary()), "label": [str(row % 2) for row in range(count)]})
    pq.write_table(table, folder / "table.parquet", row_group_size=group)
    return folder / "table.parquet"


def test_a_batch_reads_each_row_group_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_parquet(tmp_path / "photos", 24, group=4)
    stored = open_photos(path, cache_dir=str(tmp_path / "cache")).train
    streamed = open_photos(path, cache=False, cache_dir=str(tmp_path / "other")).train
    assert isinstance(streamed.pixels, DecodedPixels)
    # One thread, in place of those that opening has started: only one reads the row groups in order.
    monkeypatch.setattr(streamed.pixels, "_pool", ThreadPoolExecutor(1))
    monkeypatch.setattr(images_module, "_RECENT", images_module._Recent(capacity_bytes=1))
    read: list[int] = []
    row_group = ParquetImage._row_group

    def counting(ref: ParquetImage) -> Any:
        read.append(ref.row_group)
        return row_group(ref)

    monkeypatch.setattr(ParquetImage, "_row_group", counting)
    rows = np.random.default_rng(1).integers(0, len(streamed), 40)
    assert np.array_equal(streamed.images(rows).numpy(), stored.images(rows).numpy())
    assert read == sorted(set(read))


def test_training_on_parquet_without_a_cache_is_warned_of(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_parquet(tmp_path / "photos", 8, group=4)
    options = {"cache": False, "cache_dir": str(tmp_path / "cache")}
    open_photos(path, **options)  # all of it is kept
    monkeypatch.setattr("likewise.data.image_columns.KEPT_BYTES", 1000)
    with pytest.warns(UserWarning, match=r"GB of Parquet are decoded at every use.*--data\.no-cache"):
        open_photos(path, **options)
    open_photos(path)
    # Measured, which goes through the rows in order.
    prepare(DataConfig(source=str(path), **options), image_size=16, needs=Needs("image"), parts="any")
