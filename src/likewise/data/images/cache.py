"""Images (or sounds) decoded once into one memory-mapped array, which every later run opens at once.

A cache is a folder named by a hash of its input: every image's place, size and modification time, the
settings, and the version of this code. It holds

    images.npy    (N, 3, S, S) uint8
    hashes.npy    (N,) uint64 of the encoded bytes; equal numbers are equal files
    sizes.npy     (N, 2) int32, each image's own width and height
    cache.json    settings, the rows whose image could not be read, and which of them are tried again

Of sounds there are sounds.npy (N, L) int16 and seconds.npy (N,) float32 in place of images and sizes. Without
images.npy it is the record of a check: every image was decoded once to see that it can be, and training
decodes at every use. So a run finds the same bad records and the same groups with and without stored pixels.

It is built in `<key>.partial` under a lock that the system releases when its holder dies, and renamed when
complete. A cache under its final name is whole unless a disk failed since, which is checked.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import math
import os
import shutil
import time
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from likewise.atomic_files import written_whole
from likewise.data.images.cache_build import (
    CacheBuilder,
    Codec,
    Squares,
    array_names,
    decode_piece,
    sync,
    wrong_array,
)
from likewise.data.record import ImageRef
from likewise.errors import DataError

__all__ = ["FileCache", "cache_folder", "cache_key", "open_cache", "open_file_cache"]

_ABANDONED_SECONDS = 7 * 24 * 3600.0
_SPARE_BYTES = 256 << 20  # what a cache must leave free on its disk


@dataclass(frozen=True)
class FileCache:
    """An opened cache.

    Attributes:
        folder: where it lies.
        has_pixels: whether its large array is there; rows of bad files are zero in it.
        hashes: (N,) uint64.
        others: its small arrays by name, zero where unreadable: `sizes` (N, 2) int32 of images, their own
            width and height; `seconds` (N,) float32 of sounds.
        bad: row to the reason why its file could not be read.
    """

    folder: Path
    has_pixels: bool
    hashes: NDArray[np.uint64]
    others: dict[str, NDArray[Any]]
    bad: dict[int, str]


def cache_folder(configured: str | None) -> Path:
    """Where caches lie: as configured, else $LIKEWISE_CACHE, else ~/.cache/likewise."""
    chosen = configured or os.environ.get("LIKEWISE_CACHE")
    return Path(chosen).expanduser() if chosen else Path.home() / ".cache" / "likewise"


def cache_key(refs: Sequence[ImageRef], codec: Codec) -> str:
    """The name of the cache of these files and settings."""
    digest = hashlib.blake2b(codec.key.encode(), digest_size=12)
    digest.update("\n".join([ref.key for ref in refs]).encode("utf-8", "surrogateescape"))
    return digest.hexdigest()


def open_cache(
    refs: Sequence[ImageRef], *, size: int, fit: str, folder: Path, store: bool = True, progress: bool = False
) -> FileCache:
    """`open_file_cache` of images as squares of `size` pixels; `fit` says how an image becomes square."""
    return open_file_cache(refs, Squares(size, fit), folder=folder, store=store, progress=progress)


def open_file_cache(
    refs: Sequence[ImageRef], codec: Codec, *, folder: Path, store: bool = True, progress: bool = False
) -> FileCache:
    """Open the cache of these files; build it, or the rest of it, first if it is not complete.

    Args:
        refs: the files, in order.
        codec: how they are decoded.
        folder: where caches lie.
        store: keep the large array. Without, or (with a warning) if the disk has no room, only the check is
            kept.
        progress: show a progress bar while building.

    Raises:
        DataError: the folder cannot be written, or the disk filled up while building.
    """
    needed = _num_bytes(refs, codec)
    try:
        built = _built(refs, codec, folder, store, progress)
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise DataError(
                f"the disk of {folder} is full: the cache needs {needed / 1e9:.2f} GB. Free some space, "
                "choose another place with --data.cache-dir, or decode at every use with --data.no-cache"
            ) from error
        raise DataError(f"the cache cannot be written in {folder}: {error}; see --data.cache-dir") from error
    return _open(built, refs, codec)


def _num_bytes(refs: Sequence[ImageRef], codec: Codec) -> int:
    """Size of the large array."""
    shape, kind = next(iter(codec.shapes.values()))
    return len(refs) * math.prod(shape) * int(np.dtype(kind).itemsize)


def _built(refs: Sequence[ImageRef], codec: Codec, folder: Path, store: bool, progress: bool) -> Path:
    """The folder of the complete cache, built first if it is missing or damaged."""
    key = cache_key(refs, codec)
    for name in (key, f"{key}-check"):
        _remove_damaged(folder / name, len(refs), codec)
    if (folder / key / "cache.json").exists():
        return folder / key
    folder.mkdir(parents=True, exist_ok=True)
    _remove_abandoned(folder, key)
    store = store and _has_room(folder, folder / f"{key}.partial", _num_bytes(refs, codec), codec)
    final = folder / (key if store else f"{key}-check")
    if not (final / "cache.json").exists():
        with _locked(final):
            if not (final / "cache.json").exists():
                partial = folder / f"{final.name}.partial"
                CacheBuilder(refs, codec, partial, store).build(final, progress)
    return final


def _description(folder: Path) -> dict[str, Any]:
    """The content of cache.json."""
    described: dict[str, Any] = json.loads((folder / "cache.json").read_text(encoding="utf-8"))
    return {"for_now": []} | described


def _damaged_file(folder: Path, count: int, codec: Codec) -> str | None:
    """The damaged file of a complete cache; None if all are whole, or there is no such cache."""
    try:
        described = _description(folder)
        has_pixels, bad = described["has_pixels"], described["bad"]
        rows = [*map(int, bad), *described["for_now"]]
        settings = {name: described[name] for name in codec.settings if name != "code_version"}
        whole = isinstance(has_pixels, bool) and settings.items() <= dict(codec.settings).items()
        whole = whole and all(isinstance(reason, str) for reason in bad.values())
        whole = whole and all(isinstance(row, int) and 0 <= row < count for row in rows)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return "cache.json"
    return wrong_array(folder, count, codec, has_pixels=has_pixels) if whole else "cache.json"


def _remove_damaged(folder: Path, count: int, codec: Codec) -> None:
    """Remove a cache that a failing disk, or an interrupted copy, left incomplete."""
    if _damaged_file(folder, count, codec) is None:
        return
    with _locked(folder):
        file = _damaged_file(folder, count, codec)  # another process may have rebuilt it meanwhile
        if file is not None:
            said = f"the {codec.what} cache {folder} is damaged ({file}); it is built again"
            warnings.warn(said, stacklevel=6)
            shutil.rmtree(folder)


def _open(folder: Path, refs: Sequence[ImageRef], codec: Codec) -> FileCache:
    if _description(folder)["for_now"]:
        _read_again(folder, refs, codec)
    described = _description(folder)
    small = {name: np.load(folder / f"{name}.npy") for name in array_names(codec, False)}
    bad = {int(row): reason for row, reason in described["bad"].items()}
    return FileCache(folder, described["has_pixels"], small.pop("hashes"), small, bad)


def _read_again(folder: Path, refs: Sequence[ImageRef], codec: Codec) -> None:
    """Add the images that could not be reached when the cache was built, if they can be now."""
    # A cache that others built and that may not be written stays as it is.
    with contextlib.suppress(OSError), _locked(folder):
        described = _description(folder)
        bad, for_now = described["bad"], set(described["for_now"])
        arrays: dict[str, Any] = {
            name: np.lib.format.open_memmap(folder / f"{name}.npy", mode="r+")
            for name in array_names(codec, described["has_pixels"])
        }
        for row in sorted(for_now):
            piece = decode_piece(refs[row : row + 1], row, codec)
            for name, array in arrays.items():
                array[row] = piece.arrays[name][0]
            if row not in piece.for_now:
                for_now.discard(row)
                bad.pop(str(row))
                bad.update({str(bad_row): reason for bad_row, reason in piece.bad.items()})
        sync(arrays)
        with written_whole(folder / "cache.json") as beside:
            beside.write_text(json.dumps(described | {"for_now": sorted(for_now)}), encoding="utf-8")


def _has_room(folder: Path, partial: Path, needed: int, codec: Codec) -> bool:
    large = partial / f"{next(iter(codec.shapes))}.npy"
    allocated = large.stat().st_size if large.exists() else 0
    free = shutil.disk_usage(folder).free
    if needed - allocated + _SPARE_BYTES <= free:
        return True
    warnings.warn(
        f"the {codec.what} cache would take {needed / 1e9:.2f} GB and {folder} has {free / 1e9:.2f} GB free: "
        f"{codec.what}s are decoded at every use instead, which is slower. --data.cache-dir names another "
        "place, --data.store-size a smaller image; cache folders of data that is no longer used may be "
        "deleted",
        stacklevel=6,
    )
    return False


def _remove_abandoned(folder: Path, key: str) -> None:
    """Remove incomplete caches other than `key` that have not changed for a week: their source has usually
    changed, so no run would complete them."""
    from filelock import FileLock, Timeout

    for partial in folder.glob("*.partial"):
        if partial.name.startswith(key):
            continue
        with contextlib.suppress(OSError, Timeout), FileLock(str(partial.with_suffix(".lock")), timeout=0):
            changed = max(path.stat().st_mtime for path in (partial, *partial.iterdir()))
            if time.time() - changed > _ABANDONED_SECONDS:
                shutil.rmtree(partial)


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Wait for a cache folder's lock, which the system drops when its holder ends in any way."""
    from filelock import FileLock

    with FileLock(f"{folder}.lock"):
        yield
