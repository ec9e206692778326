"""The ways to an image's bytes: a file, a member of a tar shard, a cell of a Parquet or Arrow table."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from likewise.data.files import is_remote, read_range, read_whole
from likewise.errors import DataError, RecordError

__all__ = ["ArrowImage", "FileImage", "MemberImage", "ParquetImage"]


@dataclass(frozen=True, slots=True)
class FileImage:
    """An image in a file of its own. `version` is the time of change in nanoseconds, or an etag."""

    address: str
    num_bytes: int
    version: str

    @property
    def key(self) -> str:
        """See ImageRef."""
        return f"{self.address}\t{self.num_bytes}\t{self.version}"

    def read(self) -> bytes:
        """See ImageRef."""
        return _readable(lambda: read_whole(self.address))


@dataclass(frozen=True, slots=True)
class MemberImage:
    """An image inside an uncompressed tar shard, read by its place without scanning the shard."""

    shard: str
    shard_version: str
    offset: int
    num_bytes: int

    @property
    def key(self) -> str:
        """See ImageRef."""
        return f"{self.shard}\t{self.shard_version}\t{self.offset}\t{self.num_bytes}"

    def read(self) -> bytes:
        """See ImageRef."""
        data = _readable(lambda: read_range(self.shard, self.offset, self.num_bytes))
        if len(data) < self.num_bytes:
            raise RecordError(f"the shard ends {self.num_bytes - len(data)} bytes before this image does")
        return data


@dataclass(frozen=True, slots=True)
class ParquetImage:
    """An image in a column of a Parquet file: raw bytes, or Hugging Face's {bytes, path}."""

    file: str
    file_version: str
    column: str
    row_group: int
    row: int  # within the row group

    @property
    def key(self) -> str:
        """See ImageRef."""
        return f"{self.file}\t{self.file_version}\t{self.column}\t{self.row_group}\t{self.row}"

    @property
    def num_bytes(self) -> int:
        """See ImageRef."""
        return 0

    def read(self) -> bytes:
        """See ImageRef."""
        load = lambda: _parquet_cells(self.file, self.row_group, self.column)  # noqa: E731
        return _cell_bytes(_RECENT.get((self.file, self.file_version, self.row_group), load)[self.row])


@dataclass(frozen=True, slots=True)
class ArrowImage:
    """An image in a column of a memory-mapped Arrow file, as Hugging Face datasets write them."""

    file: str
    file_version: str
    column: str
    row: int

    @property
    def key(self) -> str:
        """See ImageRef."""
        return f"{self.file}\t{self.file_version}\t{self.column}\t{self.row}"

    @property
    def num_bytes(self) -> int:
        """See ImageRef."""
        return 0

    def read(self) -> bytes:
        """See ImageRef."""
        load = lambda: _arrow_cells(self.file, self.column)  # noqa: E731
        return _cell_bytes(_RECENT.get((self.file, self.file_version, self.column), load)[self.row])


class _Recent:
    """The few column pieces read last: neighbouring records share one, so it is read once, not per image."""

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
        self._pieces: OrderedDict[Any, Any] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, key: Any, load: Callable[[], Any]) -> Any:
        # The lock is held while loading: several threads that want the same piece must not all read it.
        with self._lock:
            if key in self._pieces:
                self._pieces.move_to_end(key)
            else:
                self._pieces[key] = load()
                if len(self._pieces) > self._capacity:
                    self._pieces.popitem(last=False)
            return self._pieces[key]


_RECENT = _Recent(capacity=4)


def _parquet_cells(file: str, row_group: int, column: str) -> Any:
    import pyarrow.parquet as pq

    from likewise.data.files import open_binary

    with open_binary(file) as stream:
        return pq.ParquetFile(stream).read_row_group(row_group, columns=[column]).column(0)


def _arrow_cells(file: str, column: str) -> Any:
    from likewise.data.arrow import open_arrow

    return open_arrow(file).column(column)


def _cell_bytes(cell: Any) -> bytes:
    value = cell.as_py()
    if isinstance(value, dict):
        if value.get("bytes") is None and value.get("path"):
            raise RecordError(f"the cell holds no bytes, only the path {value['path']!r}")
        value = value.get("bytes")
    if value is None:
        raise RecordError("no image: the cell is empty")
    return bytes(value)


def _readable(read: Callable[[], bytes]) -> bytes:
    """Files that are gone or closed to us are bad records; a failing disk or network stops the run."""
    try:
        return read()
    except FileNotFoundError:
        raise RecordError("missing: there is no such file") from None
    except PermissionError:
        raise RecordError("may not be read (permission denied)") from None
    except IsADirectoryError:
        raise RecordError("a folder, where an image file was expected") from None
    except OSError as error:
        raise DataError(f"reading failed, which says nothing about the image itself: {error}") from error


def file_image(address: str, num_bytes: int, version: str | int) -> FileImage:
    """A FileImage; the address is made absolute so that workers need no working directory."""
    import os

    return FileImage(address if is_remote(address) else os.path.abspath(address), num_bytes, str(version))
