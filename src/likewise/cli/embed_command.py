"""`likewise embed MODEL --data SOURCE --out FILE`."""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
import tyro

from likewise.cli.opened import OWN_DATA, open_model, open_splits, own_data
from likewise.data import DataConfig, Dataset, Splits, open_source
from likewise.data.splits import assign_parts
from likewise.encoders.networks import EncodesImages, EncodesTexts
from likewise.errors import ConfigError, DataError
from likewise.flags import parse_flags
from likewise.model import Model

__all__ = ["EmbedCommand", "run"]


@dataclass(frozen=True, kw_only=True)
class EmbedCommand:
    """Write the embeddings of pictures or texts: unit vectors, one row each."""

    model: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="MODEL")]
    """A run's folder, a model folder or a hub name."""

    data: DataConfig = field(default_factory=lambda: DataConfig(source=OWN_DATA))
    """What is embedded; the run's own source by default."""

    out: str
    """FILE.parquet (columns id, text, embedding) or FILE.npy (the vectors, with FILE.ids.txt beside it)."""

    what: Literal["images", "texts"] = "images"
    """Pictures or texts."""

    part: Literal["all", "train", "validation"] = "all"
    """Which part of the source; all: the training and the validation part (of another source the test part
    where it names no validation part). Further parts are left out, and counted: --data SOURCE
    --data.validation-split NAME embeds one of them."""

    device: str = "auto"
    """auto, cpu, cuda, cuda:1, ..."""


def run(arguments: Sequence[str]) -> None:
    """Embed and write."""
    options = parse_flags(EmbedCommand, arguments, prog="likewise embed")
    path = Path(options.out)
    if path.suffix not in (".parquet", ".npy"):
        raise ConfigError(f"--out {path}: expected a name that ends in .parquet or .npy.")
    model = open_model(options.model, options.device)
    # Before the data is opened, which would be asked for texts that this model cannot read.
    model.needs(f"encode_{options.what}", EncodesImages if options.what == "images" else EncodesTexts)
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
    if options.part == "all":
        own = own_data(model, options.model, options.data)
        for line in _left_out(own or options.data, splits, own=own is not None):
            print(line)


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


def _left_out(config: DataConfig, splits: Splits, *, own: bool) -> Iterator[str]:
    """A line for each part that was not embedded: how many rows it has, and how to have them.

    Args:
        config: how the source was read.
        splits: its parts.
        own: whether it is the run's own data, which has the parts of training.
    """
    named = splits.summary["parts_named"]
    if splits.summary["splits_from"] == "generated" or not (named["train"] or named["validation"]):
        return  # two parts are all there are, drawn ones and those of generated scenes
    records = open_source(config, images=False).records
    said, _ = assign_parts(records, config, "splits" if own else "any")
    counts = Counter(record.split for record, part in zip(records, said, strict=True) if part is None)
    for name, count in sorted(counts.items(), key=lambda pair: str(pair[0])):
        rows = f"{count:,} row{'' if count == 1 else 's'}"
        if name is None:
            yield f"left out: {rows} of no part; a name in their split column makes them one."
        else:
            yield (
                f"left out: {rows} of the part {name}; --data {shlex.quote(config.source)} "
                f"--data.validation-split {shlex.quote(name)} --part validation embeds them."
            )


def _write(path: Path, ids: list[str], texts: list[str], vectors: np.ndarray) -> None:
    if path.suffix == ".npy":
        np.save(path, vectors)
        path.with_suffix(".ids.txt").write_text("".join(f"{name}\n" for name in ids), encoding="utf-8")
        return
    import pyarrow as pa
    import pyarrow.parquet as pq

    embedding = pa.FixedSizeListArray.from_arrays(pa.array(vectors.reshape(-1)), vectors.shape[1])
    pq.write_table(pa.table({"id": ids, "text": texts, "embedding": embedding}), path)
