"""An index on disk, as one generation of it was when it was opened.

Dimensions: N rows, D width of the vectors, Q queries, k hits of a query.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from likewise.errors import DataError, ModelError
from likewise.messages import closest, first_names, printable
from likewise.search.approximate import MOST_HITS, approximate_search, open_approximate
from likewise.search.calibration import RandomTexts, best_of_random, percentiles, quantiles_of, random_scores
from likewise.search.embedder import Embedder, model_fingerprint
from likewise.search.exact import Hits, exact_search
from likewise.search.filters import rows_matching, rows_where
from likewise.search.manifest import Manifest, read_manifest
from likewise.search.terms import Term

__all__ = ["HIDDEN_COLUMNS", "Index", "open_index"]

HIDDEN_COLUMNS = ("key", "content", "thumbnail_start", "thumbnail_bytes")
"""Columns of the table that are for the index itself."""
_OWN_COLUMNS = ("id", "path", "captions", "label")
_TRIES = 5  # a writer may remove the files of a generation between reading index.json and opening them


def open_index(path: str | os.PathLike[str]) -> Index:
    """Open an index for reading. It stays as it is now, even while it is updated.

    Raises:
        DataError: there is no usable index.
    """
    folder = Path(path)
    for _ in range(_TRIES):
        manifest = read_manifest(folder)
        try:
            return Index(folder, manifest)
        except FileNotFoundError as error:
            missing = error
    raise DataError(f"{missing.filename} is missing; build the index again.") from missing


class Index:
    """N vectors with ids, captions, labels and thumbnails. Reading it from several threads is safe.

    Args:
        folder: of the index.
        manifest: of the generation to open.

    Attributes:
        folder: where it lies.
        manifest: the content of its `index.json`.
        vectors: (N, D) float32 or float16 of unit length, mapped from the disk.
    """

    def __init__(self, folder: Path, manifest: Manifest) -> None:
        import pyarrow as pa

        self.folder, self.manifest = folder, manifest
        path = manifest.file(folder, "vectors.npy")
        try:
            self.vectors: NDArray[np.floating] = np.load(path, mmap_mode="r")
            with np.load(manifest.file(folder, "texts.npz")) as texts:
                self._texts = RandomTexts(texts["vectors"], texts["rows"])
        except ValueError as error:
            raise DataError(f"{path} is damaged ({error}); build the index again.") from error
        if self.vectors.shape != (manifest.count, manifest.dimension):
            raise DataError(f"{path} has shape {self.vectors.shape}; build the index again.")
        self._table_file = pa.memory_map(str(manifest.file(folder, "table.parquet")))
        thumbnails = manifest.file(folder, "thumbnails.bin")
        self._thumbnails = np.memmap(thumbnails, np.uint8, "r") if thumbnails.stat().st_size else None

        self._approximate = None
        if manifest.approximate is not None and manifest.approximate["probes"]:
            self._approximate = open_approximate(manifest.file(folder, "approximate.faiss"))
            self._probes = int(manifest.approximate["probes"])

    def __len__(self) -> int:
        return self.manifest.count

    def __repr__(self) -> str:
        return f"<Index of {self.size:,} {self.manifest.noun}, {self.dimension} dimensions: {self.folder}>"

    @property
    def size(self) -> int:
        """N."""
        return self.manifest.count

    @property
    def dimension(self) -> int:
        """D."""
        return self.manifest.dimension

    @property
    def fingerprint(self) -> str:
        """Of the model that embedded the rows."""
        return str(self.manifest.model["fingerprint"])

    @property
    def abilities(self) -> list[str]:
        """Of that model, such as `encode_texts`."""
        return list(self.manifest.model["abilities"])

    @cached_property
    def table(self) -> Any:
        """The pyarrow table of all rows: id, path, captions, label, further columns."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        try:
            return pq.read_table(self._table_file).combine_chunks()
        except (pa.ArrowException, OSError) as error:
            raise DataError(f"the table of {self.folder} is damaged ({error}); build it again.") from error

    @property
    def columns(self) -> list[str]:
        """Columns beside id, path, captions and label."""
        return [name for name in self.table.column_names if name not in HIDDEN_COLUMNS + _OWN_COLUMNS]

    @cached_property
    def _places(self) -> dict[str, int]:
        return {name: row for row, name in enumerate(self.table["id"].to_pylist())}

    def row_of(self, name: str) -> int:
        """The row with this id. Raises DataError."""
        if name not in self._places:
            hint = closest(name, self._places) if self.size <= 100_000 else ""
            raise DataError(f"{self.folder} has no id {printable(name, most=80)}; {hint or 'see its table.'}")
        return self._places[name]

    def check_model(self, model: Embedder) -> None:
        """Reject a model whose vectors are of another space. Raises ModelError."""
        if model_fingerprint(model) != self.fingerprint:
            raise ModelError(
                f"{self.folder} was built by another model ({self.manifest.model['method']}, fingerprint "
                f"{self.fingerprint[:8]}): vectors of two models cannot be compared. Give the model that "
                "built it, or build an index with this one."
            )

    def search(
        self,
        vectors: NDArray[np.float32],
        top: int = 10,
        rows: NDArray[np.int64] | None = None,
        *,
        exact: bool = False,
    ) -> Hits:
        """The rows of the highest cosine.

        Args:
            vectors: (Q, D) float32 of unit length.
            top: k at most.
            rows: numbers of the rows that may be found; all when None. They are chosen first and all scored.
            exact: score every row, even where there is an approximate index.

        Returns:
            rows (Q, k) int64 and scores (Q, k) float32, the best first; k is min(top, candidates).

        Raises:
            ValueError: vectors of another shape, or row numbers that are out of range.
        """
        queries = np.ascontiguousarray(vectors, np.float32)
        if queries.ndim != 2 or queries.shape[1] != self.dimension:
            raise ValueError(f"vectors must be (Q, {self.dimension}), got {queries.shape}")
        if top < 1:
            raise ValueError(f"top must be at least 1, got {top}")
        if rows is not None:
            rows = np.unique(np.asarray(rows, np.int64))
            if len(rows) and (rows[0] < 0 or rows[-1] >= self.size):
                raise ValueError(f"row numbers must lie in [0, {self.size}), got {rows[0]} to {rows[-1]}")
        if rows is None and not exact and top <= MOST_HITS and len(queries) and self._approximate is not None:
            found = approximate_search(self._approximate, self._probes, self.vectors, queries, top=top)
            if found.rows.shape[1] == min(top, self.size):
                return found
        return exact_search(self.vectors, queries, top=top, rows=rows)

    def like(self, name: str) -> NDArray[np.float32]:
        """(D,) float32, the vector of the row with this id. Raises DataError."""
        return np.asarray(self.vectors[self.row_of(name)], np.float32)

    def records(self, rows: Sequence[int] | NDArray[np.int64]) -> list[dict[str, Any]]:
        """Rows of the table: id, path, captions (a list), label (or None), and further columns by name."""
        shown = [name for name in self.table.column_names if name not in HIDDEN_COLUMNS]
        found: list[dict[str, Any]] = self.table.select(shown).take(np.asarray(rows, np.int64)).to_pylist()
        return found

    def thumbnail(self, row: int) -> bytes | None:
        """A small JPEG of the row's image; None where there is none."""
        start, size = (int(self.table[name][row].as_py()) for name in HIDDEN_COLUMNS[2:])
        if size == 0 or self._thumbnails is None:
            return None
        return self._thumbnails[start : start + size].tobytes()

    def matching(self, wanted: Mapping[str, str] | Sequence[tuple[str, str]]) -> NDArray[np.int64]:
        """Numbers of the rows in which every column has the wanted value; `captions`: one of them.

        Raises:
            DataError: there is no such column.
        """
        pairs = list(wanted.items()) if isinstance(wanted, Mapping) else list(wanted)
        for name, _ in pairs:
            known = [column for column in self.table.column_names if column not in HIDDEN_COLUMNS]
            if name not in known:
                raise DataError(f"{self.folder} has no column {name}; it has {first_names(known)}.")
        return rows_matching(self.table, pairs)

    def where(self, condition: str) -> NDArray[np.int64]:
        """Numbers of the rows that meet an SQL condition over the table, such as "label = 'dog'".

        Raises:
            ConfigError: DuckDB is not installed.
            DataError: the condition cannot be understood.
        """
        return rows_where(self.table.drop_columns(list(HIDDEN_COLUMNS)), condition)

    def percentile(
        self, scores: NDArray[np.float32], terms: Sequence[Term] | None = None
    ) -> NDArray[np.float32]:
        """Per cent of random pairs that score lower: 50 says nothing, at 99.9 one in 1,000 does better.

        Args:
            scores: of any shape.
            terms: of the query; one text (or one image, of a model that reads no texts) when None.

        Returns:
            The same shape, NaN where there is nothing to compare with.
        """
        return percentiles(np.asarray(scores, np.float32), self._quantiles(terms))

    def best_of_random(self, terms: Sequence[Term] | None = None, count: int | None = None) -> float:
        """The score that the best of many random pairs reaches: below it, perhaps nothing here fits.

        Args:
            terms: as of `percentile`.
            count: of the rows that were searched; N when None.
        """
        return best_of_random(self.size if count is None else count, self._quantiles(terms))

    def _quantiles(self, terms: Sequence[Term] | None) -> list[float] | None:
        """Of random scores; those of a plain query were measured when the index was built."""
        kinds, weights = ["text" if "encode_texts" in self.abilities else "image"], [1.0]
        if terms is not None:
            kinds = [term.kind for term in terms]
            weights = [term.weight for term in terms]
        if len(kinds) == 1 and weights[0] > 0:
            found: list[float] | None = self.manifest.calibration.get(kinds[0])
            return found
        if "audio" in kinds or ("image" in kinds and self.manifest.what != "images"):
            return None  # there are none to draw from
        return quantiles_of(random_scores(self._texts, self.vectors, kinds, weights))
