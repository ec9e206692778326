"""References to an image's bytes: a file, a member of a tar shard, a cell of a Parquet or Arrow table."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from likewise.data.files import open_binary, read_range, read_whole, stat_entry
from likewise.data.record import ImageRef
from likewise.data.tables.arrow_cells import cell_value, open_arrow
from likewise.errors import DataError, OutOfReach, RecordError

__all__ = ["KEPT_BYTES", "ArrowImage", "FileImage", "MemberImage", "ParquetImage", "parquet_bytes"]


class _Ref:
    """An image's key is all its fields."""

    __slots__: tuple[str, ...] = ()

    @property
    def key(self) -> str:
        """See ImageRef."""
        return "\t".join([str(getattr(self, name)) for name in self.__slots__])


@dataclass(frozen=True, slots=True)
class FileImage(_Ref):
    """An image in its own file. `version` is the modification time in nanoseconds, or an etag."""

    address: str
    num_bytes: int
    version: str

    def read(self) -> bytes:
        """See ImageRef."""
        return _readable(lambda: read_whole(self.address))


@dataclass(frozen=True, slots=True)
class MemberImage(_Ref):
    """An image inside an uncompressed tar shard, read at its offset without scanning the shard."""

    shard: str
    shard_version: str
    offset: int
    num_bytes: int

    def read(self) -> bytes:
        """See ImageRef."""
        data = _readable(lambda: read_range(self.shard, self.offset, self.num_bytes))
        if len(data) < self.num_bytes:
            raise RecordError(f"the shard ends {self.num_bytes - len(data)} bytes before this image does")
        return data


@dataclass(frozen=True, slots=True)
class ParquetImage(_Ref):
    """An image in a column of a Parquet file: raw bytes, or Hugging Face's {bytes, path}."""

    file: str
    file_version: str
    column: str
    row_group: int
    row: int  # within the row group
    num_bytes = 0

    def read(self) -> bytes:
        """See ImageRef."""
        piece = (self.file, self.file_version, self.column, self.row_group)
        return _cell_bytes(_RECENT.get(piece, self._row_group)[self.row])

    def _row_group(self) -> tuple[Any, int]:
        """All cells of the row group, and their size in bytes."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        try:
            with open_binary(self.file) as stream:
                cells = pq.ParquetFile(stream).read_row_group(self.row_group, columns=[self.column]).column(0)
        except (pa.ArrowException, OSError) as error:
            raise DataError(f"{self.file}: row group {self.row_group} cannot be read: {error}") from error
        return cells, cells.nbytes


@dataclass(frozen=True, slots=True)
class ArrowImage(_Ref):
    """An image in a column of a memory-mapped Arrow file."""

    file: str
    file_version: str
    column: str
    row: int
    num_bytes = 0

    def read(self) -> bytes:
        """See ImageRef."""
        return _cell_bytes(_RECENT.get((self.file, self.file_version, self.column), self._cells)[self.row])

    def _cells(self) -> tuple[Any, int]:
        """All cells of the column. They are memory-mapped, so they count as no bytes."""
        return open_arrow(self.file, column=self.column), 0


class _Recent:
    """A cache of the column pieces read last: neighbouring records share a piece, so it is read once.

    It keeps as many pieces as fit into `capacity_bytes`, and always the last one. Threads that read small
    row groups side by side need several at once.
    """

    def __init__(self, capacity_bytes: int) -> None:
        self._capacity_bytes = capacity_bytes
        self._used_bytes = 0
        self._pieces: OrderedDict[Any, tuple[Any, int]] = OrderedDict()
        self._lock = threading.Lock()
        self._locks: dict[Any, threading.Lock] = {}  # one a piece; small, and never removed
        self._loads = threading.Semaphore(_LOADS_AT_ONCE)

    def get(self, key: Any, load: Callable[[], tuple[Any, int]]) -> Any:
        with self._lock:
            own = self._locks.setdefault(key, threading.Lock())
        with own:  # also during the load: threads that want the same piece must not all read it
            with self._lock:
                if key in self._pieces:
                    self._pieces.move_to_end(key)
                    return self._pieces[key][0]
            with self._loads:
                piece, num_bytes = load()
            with self._lock:
                self._pieces[key] = piece, num_bytes
                self._used_bytes += num_bytes
                while self._used_bytes > self._capacity_bytes and len(self._pieces) > 1:
                    self._used_bytes -= self._pieces.popitem(last=False)[1][1]
            return piece


KEPT_BYTES = 512 << 20
"""How much of the row groups read last stays in memory."""

_LOADS_AT_ONCE = 4  # a row group may take hundreds of megabytes while it is loaded
_RECENT = _Recent(capacity_bytes=KEPT_BYTES)


def parquet_bytes(refs: Iterable[ImageRef]) -> int:
    """Total size of the Parquet files that these images lie in."""
    return sum(stat_entry(file).num_bytes for file in {r.file for r in refs if isinstance(r, ParquetImage)})


def _cell_bytes(cell: Any) -> bytes:
    value = cell_value(cell)
    if isinstance(value, dict):
        if value.get("bytes") is None and value.get("path"):
            raise RecordError(f"the cell holds no bytes, only the path {value['path']!r}")
        value = value.get("bytes")
    if value is None:
        raise RecordError("no image: the cell is empty")
    return bytes(value)


def _readable(read: Callable[[], bytes]) -> bytes:
    """A missing or unreadable file is a bad record; a failing disk or network stops the run."""
    try:
        return read()
    except FileNotFoundError:
        raise OutOfReach("missing: there is no such file") from None
    except PermissionError:
        raise OutOfReach("may not be read (permission denied)") from None
    except IsADirectoryError:
        raise RecordError("a folder, where an image file was expected") from None
    except OSError as error:
        raise DataError(f"reading failed, which says nothing about the image itself: {error}") from error
