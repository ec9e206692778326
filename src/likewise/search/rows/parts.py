"""Parts: Parquet files of embedded entries, each whole in itself. An index is put together from them."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from likewise.atomic_files import written_whole
from likewise.errors import DataError
from likewise.search.rows.embedding import Embedded
from likewise.search.rows.listing import Entry

__all__ = ["Part", "PartHeader", "Rows", "metadata_columns", "usable_parts", "write_part"]

_HEADER, _DIGEST = b"likewise", b"digest"
_WHOLE = re.compile(r"-?(0|[1-9]\d{0,17})")
_DECIMAL = re.compile(r"-?(0|[1-9]\d{0,30})(\.\d{1,30})?([eE][-+]?\d{1,2})?")
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
    """Values of one kind as they are, of several kinds as texts. Tables of text hold numbers as texts, which
    become numbers where all of them can."""
    import pyarrow as pa

    texts = [value for value in values if value is not None]
    for pattern, kind in ((_WHOLE, int), (_DECIMAL, float)):
        if texts and all(isinstance(text, str) and pattern.fullmatch(text) for text in texts):
            return pa.array([None if value is None else kind(value) for value in values])
    try:
        return pa.array(values)
    except (pa.ArrowInvalid, pa.ArrowTypeError, pa.ArrowNotImplementedError, OverflowError):
        return pa.array([None if value is None else str(value) for value in values], pa.string())


def write_part(path: Path, embedded: Sequence[Embedded], header: PartHeader, *, digest: str = "") -> None:
    """Write embedded entries, whole or not at all.

    Args:
        path: of the file.
        embedded: the entries.
        header: of all parts of the index.
        digest: names what was to be embedded.

    Raises:
        WriteError: a full disk.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    columns = metadata_columns([entry for batch in embedded for entry in batch.entries])
    contents = [np.zeros(0, np.uint64), *(batch.contents for batch in embedded)]
    columns["content"] = pa.array(np.concatenate(contents))
    columns["thumbnail"] = pa.array([one for batch in embedded for one in batch.thumbnails], pa.binary())
    vectors = [np.zeros((0, header.dimension), np.float32), *(batch.vectors for batch in embedded)]
    flat = pa.array(np.concatenate(vectors).reshape(-1))
    columns["vector"] = pa.FixedSizeListArray.from_arrays(flat, header.dimension)
    described = {_HEADER: json.dumps(asdict(header)).encode(), _DIGEST: digest.encode()}
    table = pa.table(columns).replace_schema_metadata(described)
    path.parent.mkdir(parents=True, exist_ok=True)
    with written_whole(path) as beside:
        pq.write_table(table, beside)


class Part:
    """One file of embedded entries.

    Args:
        path: of the file.

    Attributes:
        path: of the file.
        header: of all parts of the index.
        digest: names what was to be embedded.

    Raises:
        DataError: it is no such file.
    """

    def __init__(self, path: Path) -> None:
        import pyarrow as pa
        import pyarrow.parquet as pq

        self.path = path
        try:
            self._file = pq.ParquetFile(path, memory_map=True)
            described = self._file.schema_arrow.metadata or {}
            self.header = PartHeader(**json.loads(described[_HEADER]))
            self.digest = described.get(_DIGEST, b"").decode()
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


def usable_parts(folder: str | os.PathLike[str], header: PartHeader) -> list[Part]:
    """The parts in a folder that agree with a header, by name; others are left out, damaged ones too."""
    found = []
    for path in sorted(Path(folder).glob("*.parquet")):
        with suppress(DataError):
            found.append(Part(path))
    return [part for part in found if part.header == header]
