"""Pictures decoded once into one memory-mapped array, which every later run opens at once.

A cache is a folder named by a hash of what went into it: every image's place, size and time of change, the
settings, and the version of this code. It holds

    images.npy    (N, 3, S, S) uint8
    hashes.npy    (N,) uint64 of the encoded bytes; equal numbers are equal files
    sizes.npy     (N, 2) int32, each picture's own width and height
    cache.json    settings, the records whose image could not be read, and which of them are tried again

Without images.npy it is the memory of a check: every image was decoded once to see that it can be, and
training decodes again at every use. So a run finds the same bad records and the same groups with and without
stored pixels.

It is built in `<key>.partial` under a lock that the system releases when its holder dies, and renamed when
complete: what lies under the final name is whole, unless a disk failed since, which is looked for. A builder
that was killed leaves the partial folder with a journal of finished pieces; the next one goes on from there.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import shutil
import time
import warnings
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from likewise.atomic_files import written_whole
from likewise.data.images.cache_files import FILES, array_kind, damage, description, wrong_array
from likewise.data.images.decode import decode_square
from likewise.data.record import ImageRef
from likewise.errors import DataError, OutOfReach, RecordError

__all__ = ["ImageCache", "cache_folder", "cache_key", "content_hash", "num_workers", "open_cache"]

CODE_VERSION = 2
"""Raised whenever the same bytes and settings would give other pixels."""

_PIECE = 64
_MAX_WORKERS = 32  # beyond, Python's lock is what threads wait for
_SYNC_SECONDS = 1.0
_ABANDONED_SECONDS = 7 * 24 * 3600.0
_SPARE_BYTES = 256 << 20  # what a cache must leave free for everything else on that disk


@dataclass(frozen=True)
class ImageCache:
    """An opened cache. Arrays are memory-mapped, read only.

    Attributes:
        folder: where it lies.
        has_pixels: whether images.npy, (N, 3, S, S) uint8, is there; rows of bad images are zero in it.
        hashes: (N,) uint64.
        sizes: (N, 2) int32, width and height of the pictures themselves, zero where unreadable.
        bad: row to the reason why its image could not be read.
    """

    folder: Path
    has_pixels: bool
    hashes: NDArray[np.uint64]
    sizes: NDArray[np.int32]
    bad: dict[int, str]


def cache_folder(configured: str | None) -> Path:
    """Where caches lie: as configured, else $LIKEWISE_CACHE, else ~/.cache/likewise."""
    chosen = configured or os.environ.get("LIKEWISE_CACHE")
    return Path(chosen).expanduser() if chosen else Path.home() / ".cache" / "likewise"


def cache_key(refs: Sequence[ImageRef], *, size: int, fit: str) -> str:
    """A name for these images stored this way."""
    digest = hashlib.blake2b(f"{CODE_VERSION}\n{size}\n{fit}\n".encode(), digest_size=12)
    digest.update("\n".join([ref.key for ref in refs]).encode("utf-8", "surrogateescape"))
    return digest.hexdigest()


def open_cache(
    refs: Sequence[ImageRef], *, size: int, fit: str, folder: Path, store: bool = True, progress: bool = False
) -> ImageCache:
    """Open the cache of these images, building what is missing of it.

    Args:
        refs: the images, in order.
        size: side of the stored squares.
        fit: how a picture becomes square.
        folder: where caches lie.
        store: keep the pixels. Without, or (with a warning) where the disk has no room, only the check is
            kept.
        progress: show a progress bar while building.

    Raises:
        DataError: the folder cannot be written, or the disk filled up while building.
    """
    needed = len(refs) * 3 * size * size
    try:
        built = _built(refs, size, fit, folder, store, progress)
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise DataError(
                f"the disk of {folder} is full: the cache needs {needed / 1e9:.2f} GB. Free some space, "
                "choose another place with data.cache_dir, or decode at every use with --data.no-cache"
            ) from error
        raise DataError(f"the cache cannot be written in {folder}: {error}; see data.cache_dir") from error
    return _open(built, refs)


def _built(refs: Sequence[ImageRef], size: int, fit: str, folder: Path, store: bool, progress: bool) -> Path:
    """The folder of the finished cache, which is built where it is not there, or not whole."""
    key = cache_key(refs, size=size, fit=fit)
    for name in (key, f"{key}-check"):
        _remove_damaged(folder / name, len(refs), size)
    if (folder / key / "cache.json").exists():
        return folder / key
    folder.mkdir(parents=True, exist_ok=True)
    _remove_abandoned(folder, key)
    store = store and _has_room(folder, folder / f"{key}.partial", len(refs) * 3 * size * size)
    name = key if store else f"{key}-check"
    if not (folder / name / "cache.json").exists():
        with _locked(folder / f"{name}.lock"):
            if not (folder / name / "cache.json").exists():
                builder = _Builder(refs, size, fit, folder / f"{name}.partial", store)
                builder.build(folder / name, progress)
    return folder / name


def _remove_damaged(folder: Path, count: int, size: int) -> None:
    """Remove a finished cache that a failing disk, or a copy cut short, has left without a part of it."""
    if damage(folder, count, size) is None:
        return
    with _locked(folder.with_name(f"{folder.name}.lock")):
        file = damage(folder, count, size)  # another process may have built it anew meanwhile
        if file is not None:
            warnings.warn(f"the image cache {folder} is damaged ({file}); it is built again", stacklevel=5)
            shutil.rmtree(folder)


def _open(folder: Path, refs: Sequence[ImageRef]) -> ImageCache:
    if description(folder)["for_now"]:
        _read_again(folder, refs)
    described = description(folder)
    hashes, sizes = np.load(folder / "hashes.npy"), np.load(folder / "sizes.npy")
    bad = {int(row): reason for row, reason in described["bad"].items()}
    return ImageCache(folder, described["has_pixels"], hashes, sizes, bad)


def _read_again(folder: Path, refs: Sequence[ImageRef]) -> None:
    """Add the images that were out of reach when the cache was built, where they are no longer."""
    # A cache that others have built and that may not be written stays as it is.
    with contextlib.suppress(OSError), _locked(folder.with_name(f"{folder.name}.lock")):
        described = description(folder)
        bad, for_now = described["bad"], set(described["for_now"])
        arrays: dict[str, Any] = {
            name: np.lib.format.open_memmap(folder / name, mode="r+")
            for name in (FILES if described["has_pixels"] else FILES[1:])
        }
        for row in sorted(for_now):
            piece = _decode_piece(refs[row : row + 1], row, described["size"], described["fit"])
            for name, array in arrays.items():
                array[row] = getattr(piece, name.removesuffix(".npy"))[0]
            if row not in piece.for_now:
                for_now.discard(row)
                bad.pop(str(row))
                bad.update({str(bad_row): reason for bad_row, reason in piece.bad.items()})
        _sync(*arrays.values())
        with written_whole(folder / "cache.json") as beside:
            beside.write_text(json.dumps(described | {"for_now": sorted(for_now)}), encoding="utf-8")


def _has_room(folder: Path, partial: Path, needed: int) -> bool:
    allocated = (partial / "images.npy").stat().st_size if (partial / "images.npy").exists() else 0
    free = shutil.disk_usage(folder).free
    if needed - allocated + _SPARE_BYTES <= free:
        return True
    warnings.warn(
        f"the image cache would take {needed / 1e9:.2f} GB and {folder} has {free / 1e9:.2f} GB free: images "
        "are decoded at every use instead, which is slower. data.cache_dir names another place, "
        "data.store_size a smaller picture; folders of data that is no longer used may be deleted there",
        stacklevel=5,
    )
    return False


def _remove_abandoned(folder: Path, key: str) -> None:
    """Remove what builders of other caches than `key` left a week ago or longer: mostly their source has
    changed, and nothing will ever go on with them."""
    from filelock import FileLock, Timeout

    for partial in folder.glob("*.partial"):
        if partial.name.startswith(key):
            continue
        with contextlib.suppress(OSError, Timeout), FileLock(str(partial.with_suffix(".lock")), timeout=0):
            changed = max(path.stat().st_mtime for path in (partial, *partial.iterdir()))
            if time.time() - changed > _ABANDONED_SECONDS:
                shutil.rmtree(partial)


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Wait for the lock. The system drops it when its holder ends in any way, so it cannot become stale."""
    from filelock import FileLock

    with FileLock(str(path)):
        yield


class _Builder:
    """Fills a partial folder and renames it."""

    def __init__(self, refs: Sequence[ImageRef], size: int, fit: str, partial: Path, store: bool) -> None:
        self._refs, self._size, self._fit, self._partial, self._store = refs, size, fit, partial, store
        self._files = FILES if store else FILES[1:]
        self._journal = partial / "journal.jsonl"

    def build(self, final: Path, progress: bool) -> None:
        self._partial.mkdir(exist_ok=True)
        done = self._read_journal()
        images, hashes, sizes = self._arrays(fresh=not done)
        bad = {row: reason for piece in done.values() for row, reason in piece.items()}
        for_now: set[int] = set()
        finished: list[str] = []
        synced = time.monotonic()
        starts = [start for start in range(0, len(self._refs), _PIECE) if start not in done]
        with (
            open(self._journal, "a", encoding="utf-8") as journal,
            _bar(len(self._refs), progress) as advance,
        ):
            advance(len(done) * _PIECE)
            journal.write("\n")  # ends a line that a kill cut short
            for start, piece in self._decoded(starts):
                stop = min(start + _PIECE, len(self._refs))
                hashes[start:stop], sizes[start:stop] = piece.hashes, piece.sizes
                if images is not None:
                    images[start:stop] = piece.images
                bad.update(piece.bad)
                for_now |= piece.for_now
                if not piece.for_now:
                    finished.append(
                        json.dumps([start, stop, {str(row): reason for row, reason in piece.bad.items()}])
                    )
                advance(stop - start)
                if time.monotonic() - synced > _SYNC_SECONDS:
                    # Pixels reach the disk before the journal says that they did.
                    _sync(images, hashes, sizes)
                    journal.write("".join(line + "\n" for line in finished))
                    journal.flush()
                    finished, synced = [], time.monotonic()
        _sync(images, hashes, sizes)
        del images, hashes, sizes
        self._finish(final, bad, for_now)

    def _finish(self, final: Path, bad: dict[int, str], for_now: set[int]) -> None:
        described = {
            "code_version": CODE_VERSION,
            "size": self._size,
            "fit": self._fit,
            "count": len(self._refs),
            "has_pixels": self._store,
            "for_now": sorted(for_now),
        }
        with open(self._partial / "cache.json", "w", encoding="utf-8") as stream:
            json.dump(described | {"bad": {str(row): reason for row, reason in sorted(bad.items())}}, stream)
            stream.flush()
            os.fsync(stream.fileno())
        self._journal.unlink()
        if final.exists():  # a folder without cache.json: someone deleted a part of it
            shutil.rmtree(final)
        os.rename(self._partial, final)

    def _read_journal(self) -> dict[int, dict[int, str]]:
        """Finished pieces: start to its bad rows. A last line cut short by a kill is not finished."""
        wrong = wrong_array(self._partial, self._files, len(self._refs), self._size)
        if not self._journal.exists() or wrong is not None:
            return {}
        done = {}
        for line in self._journal.read_text(encoding="utf-8").split("\n")[:-1]:
            try:
                start, stop, bad = json.loads(line)
            except json.JSONDecodeError:  # a line cut short, with the next builder's after it
                continue
            if start % _PIECE == 0 and stop == min(start + _PIECE, len(self._refs)):
                done[int(start)] = {int(row): reason for row, reason in bad.items()}
        return done

    def _arrays(
        self, *, fresh: bool
    ) -> tuple[NDArray[np.uint8] | None, NDArray[np.uint64], NDArray[np.int32]]:
        """The arrays on disk, their space taken at once so that a full disk shows before the work."""
        arrays: dict[str, Any] = {}
        for name in self._files:
            path, (shape, kind) = self._partial / name, array_kind(name, len(self._refs), self._size)
            if fresh:
                self._journal.unlink(missing_ok=True)
                np.lib.format.open_memmap(path, mode="w+", dtype=kind, shape=shape)
                _allocate(path)
            arrays[name] = np.lib.format.open_memmap(path, mode="r+")
        return arrays.get("images.npy"), arrays["hashes.npy"], arrays["sizes.npy"]

    def _decoded(self, starts: list[int]) -> Iterator[tuple[int, _Piece]]:
        """Pieces in order, decoded by threads: Pillow decodes and resizes without holding Python's lock.

        Threads rather than processes: no second import, nothing to pickle, no trouble with scripts that lack
        a main guard, and nothing that survives a kill.
        """
        workers = num_workers()
        with warnings.catch_warnings(), ThreadPoolExecutor(workers) as pool:
            # "Corrupt EXIF data", "Truncated file": what matters of it ends up as a reason in `bad`.
            warnings.filterwarnings("ignore", module="PIL")
            ahead: list[tuple[int, Future[_Piece]]] = []
            for start in starts:
                refs = self._refs[start : start + _PIECE]
                ahead.append((start, pool.submit(_decode_piece, refs, start, self._size, self._fit)))
                if len(ahead) > 2 * workers:
                    first, future = ahead.pop(0)
                    yield first, future.result()
            for first, future in ahead:
                yield first, future.result()


@dataclass(frozen=True)
class _Piece:
    images: NDArray[np.uint8]
    hashes: NDArray[np.uint64]
    sizes: NDArray[np.int32]
    bad: dict[int, str]
    for_now: set[int]
    """Of the bad rows those that another time may be read."""


def _decode_piece(refs: Sequence[ImageRef], start: int, size: int, fit: str) -> _Piece:
    images = np.zeros((len(refs), 3, size, size), np.uint8)
    hashes, sizes = np.zeros(len(refs), np.uint64), np.zeros((len(refs), 2), np.int32)
    bad, for_now = {}, set()
    for place, ref in enumerate(refs):
        try:
            data = ref.read()
            images[place], sizes[place] = decode_square(data, size=size, fit=fit)
            hashes[place] = content_hash(data)
        except RecordError as error:
            bad[start + place] = str(error)
            if isinstance(error, OutOfReach):
                for_now.add(start + place)
    return _Piece(images, hashes, sizes, bad, for_now)


def _sync(*arrays: Any) -> None:
    for array in arrays:
        if array is not None:
            array.flush()


def content_hash(data: bytes | memoryview) -> int:
    """64 bits that name these bytes."""
    return int.from_bytes(hashlib.blake2b(data, digest_size=8).digest(), "little")


def num_workers() -> int:
    """The processors this process may use."""
    available = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(available, _MAX_WORKERS)


def _allocate(path: Path) -> None:
    """Take the space now: writing to a sparse mapping on a full disk ends in SIGBUS, not in an error."""
    with open(path, "r+b") as stream:
        size = os.fstat(stream.fileno()).st_size
        if hasattr(os, "posix_fallocate"):
            os.posix_fallocate(stream.fileno(), 0, max(size, 1))


@contextmanager
def _bar(total: int, progress: bool) -> Iterator[Any]:
    """A function that moves the progress bar on."""
    if not progress:
        yield lambda count: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("decoding images"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task("", total=total)
        yield lambda count: bar.advance(task, count)
