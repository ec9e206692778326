"""An index copied into LanceDB, such as onto object storage, and searched there.

LanceDB is imported only here, when an address of it is named.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
from numpy.typing import NDArray

from likewise.errors import ConfigError, DataError, ModelError
from likewise.messages import first_line, first_names
from likewise.search.calibration import percentiles
from likewise.search.embedder import Embedder, model_fingerprint
from likewise.search.index import HIDDEN_COLUMNS, Index
from likewise.search.manifest import Manifest

__all__ = ["LanceIndex", "write_lance"]

_TABLE, _MANIFEST = "rows", b"likewise"
_BLOCK = 8192
_APPROXIMATE_FROM = 300_000


def _lancedb() -> Any:
    os.environ.setdefault("LANCE_LOG", "error")  # it warns of folders that it makes
    try:
        import lancedb
    except ImportError:
        raise ConfigError("an index in LanceDB needs it: pip install 'likewise[lance]'.") from None
    return lancedb


def write_lance(index: Index, address: str) -> None:
    """Copy an index into LanceDB; a table that is there is replaced as a whole.

    Args:
        index: to copy, with thumbnails and scores of random pairs.
        address: a folder, or s3://bucket/folder and the like.

    Raises:
        ConfigError: LanceDB is not installed.
        DataError: the address cannot be written.
    """
    import pyarrow as pa

    first = next(_batches(index), None)
    assert first is not None, "an index has rows"
    schema = first.schema.with_metadata({_MANIFEST: json.dumps(asdict(index.manifest)).encode()})
    reader = pa.RecordBatchReader.from_batches(schema, (b.cast(schema) for b in _batches(index)))
    try:
        table = _lancedb().connect(address).create_table(_TABLE, reader, mode="overwrite", schema=schema)
        if index.size > _APPROXIMATE_FROM:
            from lancedb.index import IvfPq

            table.create_index("vector", config=IvfPq(distance_type="dot"))
    except (OSError, RuntimeError, ValueError) as error:
        raise DataError(f"{address} cannot be written: {first_line(error)}") from error


def _batches(index: Index) -> Iterator[Any]:
    import pyarrow as pa

    shown = [name for name in index.table.column_names if name not in HIDDEN_COLUMNS]
    for start in range(0, index.size, _BLOCK):
        part = index.table.select(shown).slice(start, _BLOCK)
        rows = range(start, start + part.num_rows)
        flat = pa.array(np.asarray(index.vectors[start : start + _BLOCK], np.float32).reshape(-1))
        part = part.append_column("thumbnail", pa.array([index.thumbnail(row) for row in rows], pa.binary()))
        part = part.append_column("vector", pa.FixedSizeListArray.from_arrays(flat, index.dimension))
        yield from part.combine_chunks().to_batches()


class LanceIndex:
    """An index in LanceDB.

    Args:
        address: as of `write_lance`.

    Raises:
        ConfigError: LanceDB is not installed.
        DataError: there is no index.
    """

    def __init__(self, address: str) -> None:
        self.address = address
        try:
            self._table = _lancedb().connect(address).open_table(_TABLE)
            self.manifest = Manifest(**json.loads((self._table.schema.metadata or {})[_MANIFEST]))
        except (OSError, RuntimeError, ValueError, KeyError, TypeError) as error:
            raise DataError(f"{address} holds no index of likewise: {first_line(error)}") from error

    @property
    def size(self) -> int:
        """N rows."""
        return self.manifest.count

    @property
    def columns(self) -> list[str]:
        """Columns that can be searched by."""
        return [name for name in self._table.schema.names if name not in ("thumbnail", "vector")]

    def check_model(self, model: Embedder) -> None:
        """Reject a model whose vectors are of another space. Raises ModelError."""
        if model_fingerprint(model) != self.manifest.model["fingerprint"]:
            raise ModelError(f"{self.address} was built by another model ({self.manifest.model['method']}).")

    def condition(self, wanted: Sequence[tuple[str, str]]) -> str | None:
        """An SQL condition that every column has the wanted value; None for no columns.

        Raises:
            DataError: there is no such column.
        """
        for name, _ in wanted:
            if name not in self.columns or not re.fullmatch(r"[^`]+", name):
                raise DataError(f"{self.address} has no column {name}; it has {first_names(self.columns)}.")
        quoted = [(name, value.replace("'", "''")) for name, value in wanted]
        return " and ".join(f"cast(`{name}` as string) = '{value}'" for name, value in quoted) or None

    def search(
        self, vector: NDArray[np.float32], top: int = 10, *, condition: str | None = None
    ) -> list[dict[str, Any]]:
        """The rows of the highest cosine, the best first.

        Args:
            vector: (D,) float32 of unit length.
            top: how many at most.
            condition: in SQL, over the table; the rows that meet it are chosen first.

        Returns:
            Their columns, with `score` and the `percentile` among random pairs of a text (or an image, of a
            model that reads no texts) and a row.

        Raises:
            DataError: the condition cannot be understood.
        """
        query = self._table.search(np.asarray(vector, np.float32)).distance_type("dot")
        if condition is not None:
            query = query.where(condition, prefilter=True)
        try:
            found = query.limit(top).select([*self.columns, "thumbnail", "_distance"]).to_list()
        except (OSError, RuntimeError, ValueError) as error:
            raise DataError(f"{condition or self.address}: {first_line(error)}") from error
        scores = np.array([1 - row.pop("_distance") for row in found], np.float32)
        kind = "text" if "text" in self.manifest.calibration else "image"
        among = percentiles(scores, self.manifest.calibration.get(kind))
        return [
            {"score": float(score), "percentile": float(percentile)} | row
            for score, percentile, row in zip(scores, among, found, strict=True)
        ]
