"""`likewise classify RUN IMAGE... [--out classes.csv]`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import tyro

from likewise.cli.files.image_records import list_images, say_set_aside, square_batches
from likewise.cli.files.output_paths import check_place
from likewise.cli.files.row_files import write_rows
from likewise.data.record import BadRecord, Record
from likewise.errors import ConfigError, DataError
from likewise.messages import printed_line
from likewise.model.classes import class_probabilities
from likewise.model.model import Model
from likewise.option_flags import check_counts, parse_flags
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


def run(arguments: Sequence[str]) -> None:
    """Classify, and print or write."""
    options = parse_flags(ClassifyCommand, arguments, prog="likewise classify")
    check_counts(options, "num_classes", "batch_size")
    if options.out is not None:
        if Path(options.out).suffix not in _SUFFIXES:
            raise ConfigError(f"--out {options.out}: expected a name that ends in {' or '.join(_SUFFIXES)}.")
        check_place("--out", Path(options.out), such_as=f"classes{Path(options.out).suffix}")
    model = open_model(options.run, options.device)
    model.needs("classify")  # before any source is opened
    records, bad = list_images(options.images)
    rows = _classified(model, records, options, bad)
    say_set_aside(bad, "images")
    if not rows:
        raise DataError("no image could be read, for the reasons above." if bad else "there are no images.")
    if options.out is None:
        for row in rows:
            print("\t".join(map(printed_line, (row["image"], row["class"], f"{row['probability']:.4f}"))))
    else:
        write_rows(Path(options.out), rows)
        print(printed_line(f"wrote {len(rows):,} rows to {options.out}"))


def _classified(model: Model, records: list[Record], options: Any, bad: list[BadRecord]) -> list[Row]:
    """Rows of the readable images; the others are added to `bad`."""
    rows: list[Row] = []
    for batch in square_batches(model, records, batch_size=options.batch_size):
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
