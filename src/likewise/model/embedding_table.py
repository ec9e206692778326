"""Embeddings of a dataset with their ids and texts, and the files they are written to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from likewise.atomic_files import written_whole
from likewise.data import Dataset
from likewise.errors import DataError, ModelError
from likewise.messages import printable
from likewise.model.model import Model

__all__ = ["EmbeddingTable", "embed_images", "embed_texts", "ids_file"]


@dataclass(frozen=True, kw_only=True)
class EmbeddingTable:
    """N embeddings.

    Attributes:
        ids: of the rows that were embedded; N.
        texts: the texts themselves, or each image's first caption, empty if it has none; N.
        vectors: (N, D) float32, of unit length.
    """

    ids: list[str]
    texts: list[str]
    vectors: NDArray[np.float32]

    def write(self, path: Path) -> None:
        """Write a .parquet file (columns id, text, embedding), or an .npy file and `ids_file` beside it.

        Each file is written whole or not at all: earlier embeddings are not lost to a full disk.

        Raises:
            ModelError: a vector is not finite.
        """
        self._check_finite(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.suffix == ".npy":
            with written_whole(ids_file(path)) as names, written_whole(path) as beside:
                names.write_text("".join(f"{name}\n" for name in self.ids), encoding="utf-8")
                with beside.open("wb") as file:
                    np.save(file, self.vectors)
            return
        import pyarrow as pa
        import pyarrow.parquet as pq

        flat = pa.array(self.vectors.reshape(-1))
        embedding = pa.FixedSizeListArray.from_arrays(flat, self.vectors.shape[1])
        with written_whole(path) as beside:
            pq.write_table(pa.table({"id": self.ids, "text": self.texts, "embedding": embedding}), beside)

    def _check_finite(self, path: Path) -> None:
        rows = np.flatnonzero(~np.isfinite(self.vectors).all(axis=1))
        if len(rows):
            raise ModelError(
                f"the embeddings of {len(rows):,} of {len(self.vectors):,} rows are not finite, first that "
                f"of {printable(self.ids[rows[0]], most=80)}; {path} was not written. The model's weights "
                "are damaged, or its training diverged: use an earlier one."
            )


def ids_file(path: Path) -> Path:
    """The file of ids beside an .npy file, one a line."""
    return path.with_suffix(".ids.txt")


def embed_images(model: Model, parts: Sequence[Dataset], column: str | None = None) -> EmbeddingTable:
    """Embed the images of datasets, or their sounds; see `Model.encode_dataset_images`."""
    return EmbeddingTable(
        ids=[name for part in parts for name in part.ids],
        texts=[text for part in parts for text in _first_captions(part)],
        vectors=np.concatenate([model.encode_dataset_images(part, column=column) for part in parts]),
    )


def _first_captions(data: Dataset) -> list[str]:
    return [""] * len(data) if data.texts is None else [row[0] if row else "" for row in data.texts]


def embed_texts(model: Model, parts: Sequence[Dataset]) -> EmbeddingTable:
    """Embed all texts of datasets; a row with several texts gives several embeddings.

    Raises:
        DataError: there are no texts.
    """
    if any(part.texts is None for part in parts):
        raise DataError("the source has no texts.")
    rows = [row for part in parts for row in zip(part.ids, part.texts or [], strict=True)]
    texts = [text for _, captions in rows for text in captions]
    ids = [name for name, captions in rows for _ in captions]
    return EmbeddingTable(ids=ids, texts=texts, vectors=model.encode_texts(texts))
