"""`likewise embed MODEL --data SOURCE --out FILE`."""

from __future__ import annotations

import shlex
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
import tyro

from likewise.atomic_files import written_whole
from likewise.cli.output_paths import check_place, why_not_there
from likewise.data import DataConfig, Dataset, Splits, open_source
from likewise.data.columns import Needs
from likewise.data.splits import assign_parts
from likewise.errors import ConfigError, DataError
from likewise.model.model import Model
from likewise.option_flags import parse_flags
from likewise.runs.folder import RunFolder
from likewise.runs.open import (
    CHANGED,
    OWN_DATA,
    fingerprint_of_run,
    is_gone,
    is_run,
    open_model,
    open_moved,
    open_own_splits,
    open_splits,
    own_data,
    run_data_config,
)
from likewise.runs.settings import read_settings

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
    _check_out(path)
    model = open_model(options.model, options.device)
    # Before the data is opened, which would be asked for texts that this model cannot read.
    model.needs(f"encode_{options.what}")
    splits, own = _opened(model, options)
    parts = {"train": splits.train, "validation": splits.validation}
    chosen = [part for name, part in parts.items() if part is not None and options.part in ("all", name)]
    chosen = [part for part in chosen if len(part)]
    if not chosen:
        raise DataError(f"the source has no {options.part} part.")
    if path.suffix == ".npy":
        _check_ids(chosen, path)
    rows = [_embedded(model, part, options.what) for part in chosen]
    ids = [name for names, _, _ in rows for name in names]
    texts = [text for _, captions, _ in rows for text in captions]
    vectors = np.concatenate([block for _, _, block in rows])
    path.parent.mkdir(parents=True, exist_ok=True)
    _write(path, ids, texts, vectors)
    print(f"wrote {len(vectors)} embeddings of {vectors.shape[1]} dimensions to {path}")
    if options.part == "all":
        for line in _left_out(own or options.data, options.data, splits, own=own is not None):
            print(line)


def _check_out(path: Path) -> None:
    """Refuse what cannot be written before all the work."""
    if path.suffix not in (".parquet", ".npy"):
        raise ConfigError(f"--out {path}: expected a name that ends in .parquet or .npy.")
    check_place("--out", path, such_as=f"embeddings{path.suffix}")
    if path.suffix == ".npy" and (reason := why_not_there(_ids_of(path))) is not None:
        raise ConfigError(f"--out {path}: its ids cannot stand beside it: {reason}; name another place.")


def _ids_of(path: Path) -> Path:
    """The file of ids beside one of vectors."""
    return path.with_suffix(".ids.txt")


def _opened(model: Model, options: EmbedCommand) -> tuple[Splits, DataConfig | None]:
    """The data, and how it is read where it is the run's own, which has the parts of training."""
    path, data = options.model, options.data
    own = own_data(model, path, data)
    if own is not None:
        splits = open_splits(model, path, data)
        as_trained = own == read_settings(RunFolder(path).config).data
        if as_trained and fingerprint_of_run(path) not in (None, splits.summary["fingerprint"]):
            print(f"warning: {CHANGED.format(source=own.source)}.", file=sys.stderr)
        return splits, own
    trained = read_settings(RunFolder(path).config).data if is_run(path) else None
    # Where training's data lies where it lay, this is another source, and needs no comparing.
    if trained is not None and is_gone(trained.source) and open_moved(model, path, data.source) is not None:
        moved = run_data_config(model, trained, data, source=data.source)
        return open_own_splits(model, path, data), moved
    return open_splits(model, path, data, needs=Needs(options.what.removesuffix("s"))), None


def _check_ids(parts: Sequence[Dataset], path: Path) -> None:
    """Refuse ids that are no lines: beside a .npy file each has one."""
    for part in parts:
        for name in part.ids:
            if len(name.splitlines()) > 1:
                raise DataError(f"the id {name!r} runs over several lines; give --out {path.stem}.parquet.")


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


def _left_out(config: DataConfig, asked: DataConfig, splits: Splits, *, own: bool) -> Iterator[str]:
    """A line for each part that was not embedded: how many rows it has, and how to have them.

    Args:
        config: how the source was read.
        asked: what `--data` and its options said.
        splits: its parts.
        own: whether it is the run's own data, which has the parts of training.
    """
    named = splits.summary["parts_named"]
    if splits.summary["splits_from"] == "generated" or not (named["train"] or named["validation"]):
        return  # two parts are all there are, drawn ones and those of generated scenes
    records = open_source(config, Needs("text")).records
    said, _ = assign_parts(records, config, "splits" if own else "any")
    counts = Counter(record.split for record, part in zip(records, said, strict=True) if part is None)
    for name, count in sorted(counts.items(), key=lambda pair: str(pair[0])):
        rows = f"{count:,} row{'' if count == 1 else 's'}"
        if name is None:
            yield f"left out: {rows} of no part; a name in their split column makes them one."
        else:
            flags = _flags(replace(asked, source=config.source, validation_split=name))
            yield f"left out: {rows} of the part {name}; {flags} --part validation embeds them."


def _flags(data: DataConfig) -> str:
    """The options as one types them."""
    words = ["--data", data.source]
    for option in fields(data):
        value = getattr(data, option.name)
        if option.name == "source" or value == option.default:
            continue
        flag = option.name.replace("_", "-")
        if isinstance(value, bool):
            words.append(f"--data.{flag}" if value else f"--data.no-{flag}")
        else:
            words += [f"--data.{flag}", str(value)]
    return shlex.join(words)


def _write(path: Path, ids: list[str], texts: list[str], vectors: np.ndarray) -> None:
    """Each file whole or not at all: what was embedded before is not lost to a full disk."""
    if path.suffix == ".npy":
        with written_whole(_ids_of(path)) as names, written_whole(path) as beside:
            names.write_text("".join(f"{name}\n" for name in ids), encoding="utf-8")
            with beside.open("wb") as file:
                np.save(file, vectors)
        return
    import pyarrow as pa
    import pyarrow.parquet as pq

    embedding = pa.FixedSizeListArray.from_arrays(pa.array(vectors.reshape(-1)), vectors.shape[1])
    with written_whole(path) as beside:
        pq.write_table(pa.table({"id": ids, "text": texts, "embedding": embedding}), beside)
