"""Parts: Parquet files of embedded entries, each whole in itself. An index is put together from them."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from likewise.atomic_files import written_whole
from likewise.errors import DataError
from likewise.search.embedding import Embedded
from likewise.search.listing import Entry

__all__ = ["Part", "PartHeader", "Rows", "metadata_columns", "open_parts", "write_part"]

_HEADER = b"likewise"
_OWN = ("id", "key", "path", "captions", "label", "content", "thumbnail", "vector")


@dataclass(frozen=True, kw_only=True)
class PartHeader:
    """What all parts of one index agree on."""

    fingerprint: str
    dimension: int
    what: str
    thumbnail_side: int


class Rows(NamedTuple):
    """Some stored rows: (R, D) float32 vectors, (R,) uint64 content hashes, R thumbnails."""

    vectors: NDArray[np.float32]
    contents: NDArray[np.uint64]
    thumbnails: Sequence[bytes]


def metadata_columns(entries: Sequence[Entry]) -> dict[str, Any]:
    """The columns of a table of entries, as pyarrow arrays."""
    import pyarrow as pa

    texts = pa.list_(pa.string())
    columns = {
        "id": pa.array([entry.id for entry in entries], pa.string()),
        "key": pa.array([entry.key for entry in entries], pa.string()),
        "path": pa.array([entry.path for entry in entries], pa.string()),
        "captions": pa.array([list(entry.captions) for entry in entries], texts),
        "label": pa.array([entry.label for entry in entries], pa.string()),
    }
    for name in dict.fromkeys(name for entry in entries for name in entry.further):
        columns[name] = _array([entry.further.get(name) for entry in entries])
    return columns


def _array(values: Sequence[Any]) -> Any:
    """Values of one kind as they are, of several kinds as texts."""
    import pyarrow as pa

    try:
        return pa.array(values)
    except (pa.ArrowInvalid, pa.ArrowTypeError, OverflowError):
        return pa.array([None if value is None else str(value) for value in values], pa.string())


def write_part(path: Path, embedded: Sequence[Embedded], header: PartHeader) -> None:
    """Write embedded entries, whole or not at all.

    Raises:
        WriteError: a full disk.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    columns = metadata_columns([entry for batch in embedded for entry in batch.entries])
    columns["content"] = pa.array(np.concatenate([batch.contents for batch in embedded]))
    columns["thumbnail"] = pa.array([one for batch in embedded for one in batch.thumbnails], pa.binary())
    flat = np.concatenate([batch.vectors for batch in embedded]).reshape(-1)
    columns["vector"] = pa.FixedSizeListArray.from_arrays(pa.array(flat), header.dimension)
    table = pa.table(columns).replace_schema_metadata({_HEADER: json.dumps(asdict(header)).encode()})
    path.parent.mkdir(parents=True, exist_ok=True)
    with written_whole(path) as beside:
        pq.write_table(table, beside)


class Part:
    """One file of embedded entries.

    Args:
        path: of the file.

    Raises:
        DataError: it is no such file.
    """

    def __init__(self, path: Path) -> None:
        import pyarrow as pa
        import pyarrow.parquet as pq

        self.path = path
        try:
            self._file = pq.ParquetFile(path, memory_map=True)
            described = json.loads((self._file.schema_arrow.metadata or {})[_HEADER])
            self.header = PartHeader(**described)
        except (pa.ArrowException, OSError, KeyError, TypeError, ValueError) as error:
            raise DataError(
                f"{path} is no part of embeddings (written by likewise embed --out FOLDER/): {error}"
            ) from error

    def keys(self) -> list[str]:
        """The key of each row."""
        keys: list[str] = self._file.read(["key"])["key"].to_pylist()
        return keys

    def entries(self) -> list[Entry]:
        """The rows without their vectors; their images cannot be reached."""
        held = ("content", "thumbnail", "vector")
        names = [name for name in self._file.schema_arrow.names if name not in held]
        further = [name for name in names if name not in _OWN]
        return [
            Entry(
                id=row["id"],
                key=row["key"],
                path=row["path"],
                captions=tuple(row["captions"]),
                label=row["label"],
                further={name: row[name] for name in further if row[name] is not None},
            )
            for row in self._file.read(names).to_pylist()
        ]

    def read(self, rows: NDArray[np.int64]) -> Rows:
        """What these rows (R,) hold."""
        table = self._file.read(["content", "thumbnail", "vector"]).take(rows)
        flat = table["vector"].combine_chunks().flatten().to_numpy(zero_copy_only=False)
        vectors = flat.reshape(len(rows), self.header.dimension)
        return Rows(vectors, table["content"].to_numpy(), table["thumbnail"].to_pylist())


def open_parts(folder: str | os.PathLike[str], header: PartHeader | None = None) -> list[Part]:
    """The parts in a folder, by name.

    Args:
        folder: may lack.
        header: what they must agree on; others are left out. All are taken when None.
    """
    paths = sorted(Path(folder).glob("*.parquet"))
    parts = [Part(path) for path in paths]
    return [part for part in parts if header is None or part.header == header]
