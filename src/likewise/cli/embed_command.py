"""`likewise embed MODEL --data SOURCE --out FILE`."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal

import tyro

from likewise.cli.files.embedding_parts import write_parts
from likewise.cli.files.output_paths import check_place, why_not_there
from likewise.data import DataConfig, Dataset, Splits
from likewise.data.columns import Needs
from likewise.errors import ConfigError, DataError
from likewise.messages import printed_line
from likewise.model.embedding_table import embed_images, embed_texts, ids_file
from likewise.option_flags import parse_flags
from likewise.runs.open import OWN_DATA, open_data, open_model

__all__ = ["EmbedCommand", "run"]

_SUFFIXES = (".parquet", ".npy")


@dataclass(frozen=True, kw_only=True)
class EmbedCommand:
    """Write the embeddings of images, sounds or texts: unit vectors, one row each."""

    model: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="MODEL")]
    """A run's folder, a model folder or a hub name."""

    data: DataConfig = field(default_factory=lambda: DataConfig(source=OWN_DATA))
    """What to embed; the run's own source by default."""

    out: str
    """FILE.parquet (columns id, text, embedding), FILE.npy (the vectors, with FILE.ids.txt beside it), or
    FOLDER/ for parts that `likewise index FOLDER/` reads: several processes (torchrun, a SLURM array) write
    them side by side, and what is there is not done again."""

    what: Literal["images", "texts", "audio"] | None = None
    """Images, texts or sounds (audio); images by default, sounds for a model of sounds."""

    part: Literal["all", "train", "validation"] = "all"
    """Which part of the source; all: the training and the validation part (of another source the test part
    if it names no validation part). Further parts are left out, and counted: --data SOURCE
    --data.validation-split NAME embeds one of them."""

    rows_a_part: int = 8192
    """Images or texts in a file of FOLDER/."""

    thumbnails: int = 192
    """Longer side of the thumbnails in FOLDER/ in pixels; 0 for none."""

    device: str = "auto"
    """auto, cpu, cuda, cuda:1, ..."""


def run(arguments: Sequence[str]) -> None:
    """Embed and write."""
    options = parse_flags(EmbedCommand, arguments, prog="likewise embed")
    path = Path(options.out)
    if options.out.endswith("/") or (path.is_dir() and path.suffix not in _SUFFIXES):
        write_parts(options, path)
        return
    _check_out(path, options.data)
    model = open_model(options.model, options.device)
    # Before the data is opened, which would be searched for texts that this model cannot read.
    what = options.what or model.encoding.removeprefix("encode_")
    model.needs(f"encode_{what}")
    column = what.removesuffix("s")
    needs = Needs(column)
    splits, warning = open_data(model, options.model, options.data, needs=needs)
    if warning is not None:
        print(printed_line(f"warning: {warning}."), file=sys.stderr)
    parts = _chosen(splits, options.part)
    if path.suffix == ".npy":
        _check_ids(parts, path)
    table = embed_texts(model, parts) if what == "texts" else embed_images(model, parts, column)
    table.write(path)
    for note in splits.summary["notes"]:
        print(printed_line(f"note: {note}."), file=sys.stderr)
    count, dim = table.vectors.shape
    print(f"wrote {count} embeddings of {dim} dimensions to {printed_line(path)}")
    for name, count in splits.summary["other_parts"].items() if options.part == "all" else ():
        flags = shlex.join(["--data", splits.summary["source"], "--data.validation-split", name])
        rows = f"{count:,} row{'' if count == 1 else 's'}"
        print(
            printed_line(f"left out: {rows} of the part {name}; add {flags} --part validation to embed them.")
        )


def _check_out(path: Path, data: DataConfig) -> None:
    """Reject a file that cannot be written, before all the work."""
    if path.suffix not in _SUFFIXES:
        raise ConfigError(f"--out {path}: expected a name that ends in .parquet or .npy, or a folder/.")
    inputs = (data.source, data.validation, data.images, data.annotations)
    check_place("--out", path, such_as=f"embeddings{path.suffix}", inputs=inputs)
    if path.suffix == ".npy" and (reason := why_not_there(ids_file(path))) is not None:
        raise ConfigError(f"--out {path}: its ids cannot stand beside it: {reason}; name another place.")


def _chosen(splits: Splits, name: str) -> list[Dataset]:
    parts = {"train": splits.train, "validation": splits.validation}
    chosen = [part for key, part in parts.items() if part is not None and len(part) and name in ("all", key)]
    if not chosen:
        raise DataError(f"the source has no {name} part.")
    return chosen


def _check_ids(parts: Sequence[Dataset], path: Path) -> None:
    """Reject ids of several lines: the file beside an .npy file has one id a line."""
    for name in (name for part in parts for name in part.ids):
        if len(name.splitlines()) > 1:
            raise DataError(f"the id {name!r} runs over several lines; give --out {path.stem}.parquet.")
