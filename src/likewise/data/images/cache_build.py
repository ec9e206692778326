"""Decode files into the arrays of a cache folder; a killed build is continued by the next one.

The folder under construction keeps a journal of its finished pieces and is renamed when it is complete.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import time
import warnings
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from likewise.data.images.decode import decode_square
from likewise.data.record import ImageRef
from likewise.errors import OutOfReach, RecordError

__all__ = [
    "CODE_VERSION",
    "CacheBuilder",
    "Codec",
    "Squares",
    "allocate",
    "array_names",
    "content_hash",
    "decode_piece",
    "num_workers",
    "sync",
    "wrong_array",
]

CODE_VERSION = 3
"""Raised whenever the same bytes and settings would give other pixels."""

_PIECE = 64
_MAX_WORKERS = 32  # beyond, threads wait for Python's lock
_SYNC_SECONDS = 1.0


class Codec(Protocol):
    """How a file becomes a row of a cache's arrays."""

    @property
    def what(self) -> str:
        """What is decoded, such as "image"."""

    @property
    def key(self) -> str:
        """Changes where the same bytes would give other rows."""

    @property
    def settings(self) -> Mapping[str, Any]:
        """What decides the rows, as JSON."""

    @property
    def shapes(self) -> Mapping[str, tuple[tuple[int, ...], Any]]:
        """Shape of a row and type of each array, by name: first the large one, which a mere check lacks."""

    def decode(self, data: bytes) -> tuple[Any, ...]:
        """A file's row of each array, in the order of `shapes`. Raises RecordError."""


@dataclass(frozen=True)
class Squares:
    """Images as squares of `size` pixels a side."""

    size: int
    fit: str
    what = "image"

    @property
    def key(self) -> str:
        """See Codec."""
        return f"{CODE_VERSION}\n{self.size}\n{self.fit}\n"

    @property
    def settings(self) -> dict[str, Any]:
        """See Codec."""
        return {"code_version": CODE_VERSION, "size": self.size, "fit": self.fit}

    @property
    def shapes(self) -> dict[str, tuple[tuple[int, ...], Any]]:
        """See Codec; `sizes` are the images' own width and height."""
        return {"images": ((3, self.size, self.size), np.uint8), "sizes": ((2,), np.int32)}

    def decode(self, data: bytes) -> tuple[Any, ...]:
        """See Codec."""
        return decode_square(data, size=self.size, fit=self.fit)


@dataclass(frozen=True)
class _Piece:
    """Consecutive decoded files; `for_now` are the bad rows that may be readable another time."""

    arrays: dict[str, NDArray[Any]]
    bad: dict[int, str]
    for_now: set[int]


class CacheBuilder:
    """Fills a partial folder and renames it.

    Args:
        refs: the files, in order.
        codec: how they are decoded.
        partial: the folder to fill.
        store: keep the large array.
    """

    def __init__(self, refs: Sequence[ImageRef], codec: Codec, partial: Path, store: bool) -> None:
        self._refs, self._codec, self._partial, self._store = refs, codec, partial, store
        self._journal = partial / "journal.jsonl"

    def build(self, final: Path, progress: bool) -> None:
        """Decode what the journal lacks, and rename the folder to `final`."""
        self._partial.mkdir(exist_ok=True)
        done = self._read_journal()
        arrays = self._arrays(fresh=not done)
        bad = {row: reason for piece in done.values() for row, reason in piece.items()}
        for_now: set[int] = set()
        finished: list[str] = []
        synced = time.monotonic()
        starts = [start for start in range(0, len(self._refs), _PIECE) if start not in done]
        with (
            open(self._journal, "a", encoding="utf-8") as journal,
            _bar(f"decoding {self._codec.what}s", len(self._refs), progress) as advance,
        ):
            advance(len(done) * _PIECE)
            journal.write("\n")  # ends a line that a kill cut short
            for start, piece in self._decoded(starts):
                stop = min(start + _PIECE, len(self._refs))
                for name, array in arrays.items():
                    array[start:stop] = piece.arrays[name]
                bad.update(piece.bad)
                for_now |= piece.for_now
                if not piece.for_now:
                    finished.append(json.dumps([start, stop, piece.bad]) + "\n")
                advance(stop - start)
                if time.monotonic() - synced > _SYNC_SECONDS:
                    sync(arrays)  # pixels reach the disk before the journal says so
                    journal.writelines(finished)
                    journal.flush()
                    finished, synced = [], time.monotonic()
        sync(arrays)
        del arrays
        self._finish(final, bad, for_now)

    def _finish(self, final: Path, bad: dict[int, str], for_now: set[int]) -> None:
        described = {
            **self._codec.settings,
            "count": len(self._refs),
            "has_pixels": self._store,
            "for_now": sorted(for_now),
            "bad": dict(sorted(bad.items())),
        }
        with open(self._partial / "cache.json", "w", encoding="utf-8") as stream:
            json.dump(described, stream)
            stream.flush()
            os.fsync(stream.fileno())
        self._journal.unlink()
        if final.exists():  # without cache.json: part of it was deleted
            shutil.rmtree(final)
        os.rename(self._partial, final)

    def _read_journal(self) -> dict[int, dict[int, str]]:
        """Finished pieces: start to bad rows. A last line that a kill cut short is not finished."""
        count = len(self._refs)
        wrong = wrong_array(self._partial, count, self._codec, has_pixels=self._store)
        if not self._journal.exists() or wrong is not None:
            return {}
        done = {}
        for line in self._journal.read_text(encoding="utf-8").split("\n")[:-1]:
            try:
                start, stop, bad = json.loads(line)
                if start % _PIECE == 0 and stop == min(start + _PIECE, count):
                    done[int(start)] = {int(row): str(reason) for row, reason in bad.items()}
            except (ValueError, TypeError, AttributeError, RecursionError):  # empty, cut short or damaged
                continue
        return done

    def _arrays(self, *, fresh: bool) -> dict[str, Any]:
        """The arrays on disk. Space is reserved at once, so that a full disk shows before the work."""
        arrays: dict[str, Any] = {}
        for name in array_names(self._codec, self._store):
            path = self._partial / f"{name}.npy"
            if fresh:
                self._journal.unlink(missing_ok=True)
                shape, kind = _array_kind(name, len(self._refs), self._codec)
                np.lib.format.open_memmap(path, mode="w+", dtype=kind, shape=shape)
                allocate(path)
            arrays[name] = np.lib.format.open_memmap(path, mode="r+")
        return arrays

    def _decoded(self, starts: list[int]) -> Iterator[tuple[int, _Piece]]:
        """Pieces in order, decoded by threads: Pillow decodes and resizes without holding Python's lock.

        Threads rather than processes: no second import, nothing to pickle, no trouble with scripts that lack
        a main guard, and nothing that survives a kill.
        """
        workers = num_workers()
        with warnings.catch_warnings(), ThreadPoolExecutor(workers) as pool:
            # "Corrupt EXIF data", "Truncated file": what matters becomes a reason in `bad`.
            warnings.filterwarnings("ignore", module="PIL")
            ahead: list[tuple[int, Future[_Piece]]] = []
            for start in starts:
                refs = self._refs[start : start + _PIECE]
                ahead.append((start, pool.submit(decode_piece, refs, start, self._codec)))
                if len(ahead) > 2 * workers:
                    first, future = ahead.pop(0)
                    yield first, future.result()
            for first, future in ahead:
                yield first, future.result()


def decode_piece(refs: Sequence[ImageRef], start: int, codec: Codec) -> _Piece:
    """Decode consecutive files; `start` is the row of the first."""
    arrays = {name: np.zeros((len(refs), *shape), kind) for name, (shape, kind) in codec.shapes.items()}
    hashes = np.zeros(len(refs), np.uint64)
    bad, for_now = {}, set()
    for place, ref in enumerate(refs):
        try:
            data = ref.read()
            for array, row in zip(arrays.values(), codec.decode(data), strict=True):
                array[place] = row
            hashes[place] = content_hash(data)
        except RecordError as error:
            bad[start + place] = str(error)
            if isinstance(error, OutOfReach):
                for_now.add(start + place)
    return _Piece(arrays | {"hashes": hashes}, bad, for_now)


def content_hash(data: bytes | memoryview) -> int:
    """A 64-bit hash of the bytes."""
    return int.from_bytes(hashlib.blake2b(data, digest_size=8).digest(), "little")


def num_workers() -> int:
    """How many decoding threads to use: the processors of this process, up to a limit."""
    available = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(available, _MAX_WORKERS)


def array_names(codec: Codec, has_pixels: bool) -> tuple[str, ...]:
    """The arrays of a cache with or without its large one; each lies in NAME.npy."""
    large, *others = codec.shapes
    return (large, "hashes", *others) if has_pixels else ("hashes", *others)


def wrong_array(folder: Path, count: int, codec: Codec, *, has_pixels: bool) -> str | None:
    """The first array file that is missing, cut short or of another shape; None if all are whole."""
    for name in array_names(codec, has_pixels):
        try:
            array = np.load(folder / f"{name}.npy", mmap_mode="r")
        except (FileNotFoundError, ValueError, EOFError):  # an empty file, or one that ends too early
            return f"{name}.npy"
        if (array.shape, array.dtype) != _array_kind(name, count, codec):
            return f"{name}.npy"
    return None


def _array_kind(name: str, count: int, codec: Codec) -> tuple[tuple[int, ...], np.dtype[Any]]:
    """Shape and type of one of the arrays."""
    shape, kind = {**codec.shapes, "hashes": ((), np.uint64)}[name]
    return (count, *shape), np.dtype(kind)


def sync(arrays: dict[str, Any]) -> None:
    """Write memory-mapped arrays to the disk."""
    for array in arrays.values():
        array.flush()


def allocate(path: Path) -> None:
    """Reserve the space now: writing to a sparse mapping on a full disk ends in SIGBUS, not in an error."""
    with open(path, "r+b") as stream:
        size = os.fstat(stream.fileno()).st_size
        if hasattr(os, "posix_fallocate"):
            os.posix_fallocate(stream.fileno(), 0, max(size, 1))


@contextmanager
def _bar(text: str, total: int, progress: bool) -> Iterator[Any]:
    """A function that advances the progress bar."""
    if not progress:
        yield lambda count: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn(text), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task("", total=total)
        yield lambda count: bar.advance(task, count)
