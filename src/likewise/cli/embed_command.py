"""`likewise embed MODEL --data SOURCE --out FILE`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
import tyro

from likewise.cli.opened import OWN_DATA, open_model, open_splits
from likewise.data import DataConfig, Dataset
from likewise.errors import ConfigError, DataError
from likewise.model import Model

__all__ = ["EmbedCommand", "run"]


@dataclass(frozen=True, kw_only=True)
class EmbedCommand:
    """Write the embeddings of pictures or texts: unit vectors, one row each."""

    model: Annotated[str, tyro.conf.Positional]
    """A run's folder, a model folder or a hub name."""

    data: DataConfig = field(default_factory=lambda: DataConfig(source=OWN_DATA))
    """What is embedded; the run's own source by default."""

    out: str
    """FILE.parquet (columns id, text, embedding) or FILE.npy (the vectors, with FILE.ids.txt beside it)."""

    what: Literal["images", "texts"] = "images"
    """Pictures or texts."""

    part: Literal["all", "train", "validation"] = "all"
    """Which part of the source."""

    device: str = "auto"
    """auto, cpu, cuda, cuda:1, ..."""


def run(arguments: Sequence[str]) -> None:
    """Embed and write."""
    options = tyro.cli(EmbedCommand, args=list(arguments), prog="likewise embed")
    path = Path(options.out)
    if path.suffix not in (".parquet", ".npy"):
        raise ConfigError(f"--out {path}: expected a name that ends in .parquet or .npy.")
    model = open_model(options.model, options.device)
    splits = open_splits(model, options.model, options.data, needs=frozenset({options.what}))
    parts = {"train": splits.train, "validation": splits.validation}
    chosen = [part for name, part in parts.items() if part is not None and options.part in ("all", name)]
    chosen = [part for part in chosen if len(part)]
    if not chosen:
        raise DataError(f"the source has no {options.part} part.")
    rows = [_embedded(model, part, options.what) for part in chosen]
    ids = [name for names, _, _ in rows for name in names]
    texts = [text for _, captions, _ in rows for text in captions]
    vectors = np.concatenate([block for _, _, block in rows])
    path.parent.mkdir(parents=True, exist_ok=True)
    _write(path, ids, texts, vectors)
    print(f"wrote {len(vectors)} embeddings of {vectors.shape[1]} dimensions to {path}")


def _embedded(model: Model, data: Dataset, what: str) -> tuple[list[str], list[str], np.ndarray]:
    """Ids, texts and (N, D) vectors of a part; a picture's text is its first caption, or empty."""
    if what == "images":
        captions = [""] * len(data) if data.texts is None else [row[0] if row else "" for row in data.texts]
        return list(data.ids), captions, model.encode_dataset_images(data)
    if data.texts is None:
        raise DataError("the source has no texts; see --data.text-column.")
    captions = [text for row in data.texts for text in row]
    ids = [name for name, row in zip(data.ids, data.texts, strict=True) for _ in row]
    return ids, captions, model.encode_texts(captions)


def _write(path: Path, ids: list[str], texts: list[str], vectors: np.ndarray) -> None:
    if path.suffix == ".npy":
        np.save(path, vectors)
        path.with_suffix(".ids.txt").write_text("".join(f"{name}\n" for name in ids), encoding="utf-8")
        return
    import pyarrow as pa
    import pyarrow.parquet as pq

    embedding = pa.FixedSizeListArray.from_arrays(pa.array(vectors.reshape(-1)), vectors.shape[1])
    pq.write_table(pa.table({"id": ids, "text": texts, "embedding": embedding}), path)
