"""`likewise classify RUN IMAGE... [--out classes.csv]`."""

from __future__ import annotations

import csv
import io
import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import tyro

from likewise.atomic_files import written_whole
from likewise.cli.files.output_paths import check_place
from likewise.data import DataConfig, open_source
from likewise.data.columns import Needs
from likewise.data.images.stream import image_batches
from likewise.data.record import BadRecord, Record
from likewise.errors import ConfigError, DataError
from likewise.messages import first_names, printed_line
from likewise.model.classes import class_probabilities
from likewise.model.model import Model
from likewise.option_flags import parse_flags
from likewise.runs.open import open_model

__all__ = ["ClassifyCommand", "run"]

_SUFFIXES = (".csv", ".jsonl")

Row = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class ClassifyCommand:
    """Name the classes of images with a trained classifier."""

    run: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="RUN")]
    """A run's folder, a model folder or a hub name."""

    images: Annotated[tuple[str, ...], tyro.conf.Positional, tyro.conf.arg(metavar="IMAGES...")]
    """Image files, folders of images, tables, shards: any source that `likewise data` reads."""

    out: str | None = None
    """File for the classes: .csv or .jsonl, a row for each image and class. Printed when not given."""

    num_classes: int = 1
    """The likeliest so many classes of each image."""

    batch_size: int = 256
    """Images per forward pass."""

    device: str = "auto"
    """auto, cpu, cuda, cuda:1, ..."""

    def __post_init__(self) -> None:
        """Check the counts."""
        for name in ("num_classes", "batch_size"):
            if getattr(self, name) < 1:
                raise ConfigError(
                    f"--{name.replace('_', '-')} is {getattr(self, name)}; expected at least 1."
                )


def run(arguments: Sequence[str]) -> None:
    """Classify, and print or write."""
    options = parse_flags(ClassifyCommand, arguments, prog="likewise classify")
    if options.out is not None:
        if Path(options.out).suffix not in _SUFFIXES:
            raise ConfigError(f"--out {options.out}: expected a name that ends in {' or '.join(_SUFFIXES)}.")
        check_place("--out", Path(options.out), such_as=f"classes{Path(options.out).suffix}")
    model = open_model(options.run, options.device)
    model.needs("classify")  # before any source is opened
    opened = [open_source(DataConfig(source=source), Needs("image")) for source in options.images]
    records = [record for source in opened for record in source.records]
    bad = [one.bad for source in opened for one in source.problems if one.part != "text"]
    rows = _classified(model, records, options, bad)
    if bad:
        reasons = first_names([f"{one.place}: {one.reason}" for one in bad], most=10)
        print(printed_line(f"{len(bad):,} images set aside: {reasons}"), file=sys.stderr)
    if not rows:
        raise DataError("no image could be read, for the reasons above." if bad else "there are no images.")
    if options.out is None:
        for row in rows:
            print("\t".join(map(printed_line, (row["image"], row["class"], f"{row['probability']:.4f}"))))
    else:
        _write(Path(options.out), rows)
        print(printed_line(f"wrote {len(rows):,} rows to {options.out}"))


def _classified(model: Model, records: list[Record], options: Any, bad: list[BadRecord]) -> list[Row]:
    """Rows of the readable images; the others are added to `bad`."""
    size, images = model.image_encoder.image_size, model.config["images"]
    batches = image_batches(
        records, size=images["store_size"] or size, fit=images["fit"], batch_size=options.batch_size
    )
    rows: list[Row] = []
    for batch in batches:
        bad += batch.bad
        if not batch.records:
            continue
        probabilities = class_probabilities(model, [batch.images])  # (B, C)
        likeliest = (-probabilities).argsort(axis=1, kind="stable")[:, : options.num_classes]
        rows += [
            {
                "image": record.id,
                "class": model.classes[number],
                "rank": rank,
                "probability": float(of_image[number]),
            }
            for record, of_image, numbers in zip(batch.records, probabilities, likeliest, strict=True)
            for rank, number in enumerate(numbers, start=1)
        ]
    return rows


def _write(path: Path, rows: list[Row]) -> None:
    """Write rows, whole or not at all."""
    if path.suffix == ".jsonl":
        text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    else:
        file = io.StringIO(newline="")
        writer = csv.DictWriter(file, ["image", "class", "rank", "probability"])
        writer.writeheader()
        writer.writerows(rows)
        text = file.getvalue()
    path.parent.mkdir(parents=True, exist_ok=True)
    with written_whole(path) as beside:
        beside.write_text(text, encoding="utf-8")
