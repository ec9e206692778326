"""Local files by plain system calls, anything else by fsspec."""

from __future__ import annotations

import bz2
import glob as local_glob
import gzip
import io
import lzma
import os
import re
import stat
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import IO, Any, cast

from likewise.errors import SourceError
from likewise.messages import first_line

__all__ = [
    "COMPRESSIONS",
    "Entry",
    "check_regular",
    "expand",
    "folder_of",
    "is_folder",
    "is_remote",
    "join",
    "list_tree",
    "name_of",
    "normalised",
    "open_binary",
    "read_range",
    "read_start",
    "read_whole",
    "stat_entry",
    "stem_of",
]

COMPRESSIONS = (".gz", ".bz2", ".xz", ".zst")


@dataclass(frozen=True, slots=True)
class Entry:
    """A file as a listing shows it; `version` is its modification time in nanoseconds, or an etag."""

    address: str
    num_bytes: int
    version: str

    @property
    def state(self) -> str:
        """Changes when the content does."""
        return f"{self.num_bytes}\t{self.version}"


def is_remote(address: str) -> bool:
    """Whether the address needs fsspec (s3://, hf://, memory://, ...)."""
    return "://" in address and not address.startswith("file://")


def _filesystem(address: str) -> tuple[Any, str]:
    """The fsspec filesystem and the path within it."""
    import fsspec

    try:
        return cast("tuple[Any, str]", fsspec.core.url_to_fs(address))
    except (ValueError, ImportError) as error:
        raise SourceError(f"{address}: {error}") from error


@contextmanager
def _reached(address: str) -> Iterator[None]:
    """Turn any network error of the clients behind fsspec into a SourceError with the address."""
    try:
        yield
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError, PermissionError, SourceError):
        raise
    except Exception as error:
        raise SourceError(
            f"{address}: it cannot be reached ({type(error).__name__}: {first_line(error)}); is the address "
            "right, and the network up?"
        ) from error


def _remote_entry(address: str, info: dict[str, Any]) -> Entry:
    version = next((info[k] for k in ("ETag", "etag", "mtime", "LastModified", "created") if info.get(k)), "")
    return Entry(address, int(info.get("size") or 0), str(version))


def normalised(address: str) -> str:
    """The absolute address, as listings write it."""
    if is_remote(address):
        filesystem, path = _filesystem(address)
        return str(filesystem.unstrip_protocol(path))
    return os.path.abspath(address.removeprefix("file://"))


def stat_entry(address: str) -> Entry:
    """Size and version of a file. Raises FileNotFoundError."""
    if is_remote(address):
        filesystem, path = _filesystem(address)
        with _reached(address):
            return _remote_entry(address, filesystem.info(path))
    found = os.stat(address)
    return Entry(os.path.abspath(address), found.st_size, str(found.st_mtime_ns))


def is_folder(address: str) -> bool:
    """Whether the address is a folder."""
    if is_remote(address):
        filesystem, path = _filesystem(address)
        with _reached(address):
            return bool(filesystem.isdir(path))
    return os.path.isdir(address)


def list_tree(folder: str, *, follow_links: bool = False) -> tuple[list[Entry], list[str]]:
    """Every file below a folder, and the linked folders that were not entered; sorted, hidden ones left out.

    Args:
        folder: local or remote.
        follow_links: enter linked folders too, unless they lead back to a folder that contains them.
    """
    if is_remote(folder):
        filesystem, path = _filesystem(folder)
        with _reached(folder):
            found = filesystem.find(path, detail=True)
        entries = [_remote_entry(filesystem.unstrip_protocol(name), info) for name, info in found.items()]
        linked: list[str] = []
    else:
        entries, linked = _walk(os.path.abspath(folder), follow_links)
    return sorted(entries, key=lambda entry: entry.address), sorted(linked)


def _walk(folder: str, follow_links: bool) -> tuple[list[Entry], list[str]]:
    """The files and the skipped linked folders of a local tree, in any order."""
    entries: list[Entry] = []
    linked: list[str] = []
    # Each folder with the real paths of the folders above it and its own.
    pending: list[tuple[str, tuple[str, ...]]] = [(folder, (os.path.realpath(folder),))]
    while pending:
        path, above = pending.pop()
        with os.scandir(path) as scan:
            for item in scan:
                if item.name.startswith("."):
                    continue
                if not _leads_to_folder(item):
                    found = item.stat(follow_symlinks=False)
                    entries.append(Entry(item.path, found.st_size, str(found.st_mtime_ns)))
                elif item.is_symlink() and not follow_links:
                    linked.append(item.path)
                else:
                    is_link = item.is_symlink()
                    real = os.path.realpath(item.path) if is_link else os.path.join(above[-1], item.name)
                    if real not in above:
                        pending.append((item.path, (*above, real)))
    return entries, linked


def _leads_to_folder(item: os.DirEntry[str]) -> bool:
    """Whether it is a folder or a link to one; a link to itself counts as a file."""
    try:
        return item.is_dir()
    except OSError:
        return False


def expand(pattern: str) -> list[str]:
    """The files that a pattern names: braces ({000..009}, {train,val}; files need not exist) and stars."""
    addresses = []
    for one in _expand_braces(pattern):
        if not any(sign in one for sign in "*?["):
            addresses.append(one)
        elif is_remote(one):
            filesystem, path = _filesystem(one)
            with _reached(one):
                addresses += [filesystem.unstrip_protocol(name) for name in sorted(filesystem.glob(path))]
        else:
            addresses += sorted(local_glob.glob(one, recursive=True))
    return addresses


def _expand_braces(pattern: str) -> list[str]:
    match = re.search(r"\{([^{}]*)\}", pattern)
    if match is None:
        return [pattern]
    inside = match.group(1)
    run = re.fullmatch(r"(\d+)\.\.(\d+)", inside)
    if run is None:
        choices = inside.split(",")
    else:
        first, last = run.groups()
        choices = [str(number).zfill(len(first)) for number in range(int(first), int(last) + 1)]
    before, after = pattern[: match.start()], pattern[match.end() :]
    return [rest for choice in choices for rest in _expand_braces(before + choice + after)]


def check_regular(address: str) -> None:
    """Raise SourceError for a local FIFO, socket or device: opening one may block for good."""
    if is_remote(address):
        return
    mode = os.stat(address).st_mode
    if not stat.S_ISREG(mode) and not stat.S_ISDIR(mode):
        raise SourceError(f"{address}: not a regular file (a FIFO, socket or device)")


def open_binary(address: str) -> IO[bytes]:
    """The file as a seekable stream of its bytes."""
    if is_remote(address):
        filesystem, path = _filesystem(address)
        with _reached(address):
            return cast("IO[bytes]", filesystem.open(path, "rb"))
    check_regular(address)
    return open(address, "rb")


def read_whole(address: str, *, decompress: bool = False) -> bytes:
    """All bytes of a file; `decompress` unpacks .gz, .bz2, .xz and .zst."""
    if decompress and address.lower().endswith(COMPRESSIONS):
        return _decompressed(address, -1)
    with open_binary(address) as stream:
        return stream.read()


def read_start(address: str, length: int) -> bytes:
    """The first bytes of a file, unpacked if it is compressed."""
    if address.lower().endswith(COMPRESSIONS):
        return _decompressed(address, length)
    with open_binary(address) as stream:
        return stream.read(length)


def _decompressed(address: str, length: int) -> bytes:
    openers: dict[str, Callable[[IO[bytes]], Any]] = {
        ".gz": lambda stream: gzip.GzipFile(fileobj=stream),
        ".bz2": bz2.BZ2File,
        ".xz": lzma.LZMAFile,
        ".zst": _zstd,
    }
    try:
        with open_binary(address) as packed, openers[os.path.splitext(address)[1].lower()](packed) as stream:
            return cast(bytes, stream.read(None if length < 0 else length))
    except (EOFError, ValueError, zlib.error, lzma.LZMAError, OSError) as error:
        if isinstance(error, FileNotFoundError):
            raise
        raise SourceError(f"{address}: cannot be decompressed: {error}") from error


def _zstd(stream: IO[bytes]) -> Any:
    import pyarrow as pa

    return pa.CompressedInputStream(stream, "zstd")


def read_range(address: str, start: int, length: int) -> bytes:
    """`length` bytes from `start`, fewer where the file ends."""
    if is_remote(address):
        filesystem, path = _filesystem(address)
        with _reached(address):
            return cast(bytes, filesystem.cat_file(path, start=start, end=start + length))
    with io.FileIO(address) as stream:  # unbuffered: one seek and one read
        stream.seek(start)
        return stream.read(length) or b""


def name_of(address: str) -> str:
    """The last part of an address."""
    return address.rstrip("/").rsplit("/", 1)[-1] if is_remote(address) else os.path.basename(address)


def folder_of(address: str) -> str:
    """The address without its last part."""
    return address.rstrip("/").rsplit("/", 1)[0] if is_remote(address) else os.path.dirname(address)


def join(folder: str, name: str) -> str:
    """The address of `name` within `folder`."""
    return f"{folder.rstrip('/')}/{name}" if is_remote(folder) else os.path.join(folder, name)


def stem_of(address: str) -> str:
    """The name without compression and format suffixes: "train" of "train.csv.gz"."""
    name = name_of(address)
    for suffix in COMPRESSIONS:
        name = name.removesuffix(suffix)
    return name.rsplit(".", 1)[0]
