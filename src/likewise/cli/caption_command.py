"""`likewise caption RUN IMAGE... [--out captions.csv]`."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Annotated, Any

import tyro

from likewise.cli.files.caption_files import write_captions_file
from likewise.cli.files.image_records import list_images, say_set_aside, square_batches, tracked
from likewise.cli.files.row_files import check_out
from likewise.data.record import BadRecord, Record
from likewise.encoders.decoders import Decoding
from likewise.errors import DataError
from likewise.messages import counted, printed_line
from likewise.metrics.texts.captions import few_distinct
from likewise.model.captions import Caption
from likewise.model.model import Model
from likewise.option_flags import check_counts, parse_flags
from likewise.runs.open import open_model

__all__ = ["CaptionCommand", "run"]


@dataclass(frozen=True, kw_only=True)
class CaptionCommand(Decoding):
    """Write captions of images with a trained captioner."""

    run: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="RUN")]
    """A run's folder, a model folder or a hub name."""

    images: Annotated[tuple[str, ...], tyro.conf.Positional, tyro.conf.arg(metavar="IMAGES...")]
    """Image files, folders of images, tables, shards: any source that `likewise data` reads."""

    out: str | None = None
    """File for the captions: .csv, .jsonl or .parquet, a row for each caption; or `txt` for a NAME.txt beside
    each image. Printed when not given."""

    overwrite: bool = False
    """With `--out txt`: replace the text files that are there."""

    image_root: str | None = None
    """Folder that the paths in tables are relative to; the table's own folder (or its images/) when not
    given."""

    batch_size: int = 64
    """Images generated for at a time."""

    device: str = "auto"
    """auto, cpu, cuda, cuda:1, ..."""

    quiet: bool = False
    """Show no progress."""


def run(arguments: Sequence[str]) -> None:
    """Caption, and print or write."""
    options = parse_flags(CaptionCommand, arguments, prog="likewise caption")
    if options.out != "txt":
        or_else = ", or txt for a file beside each image"
        check_out(options.out, such_as="captions", inputs=options.images, or_else=or_else)
    check_counts(options, "batch_size")
    model = open_model(options.run, options.device)
    model.needs("caption")  # before any source is opened
    decoding = Decoding(**{field.name: getattr(options, field.name) for field in fields(Decoding)})
    records, bad = list_images(options.images, image_root=options.image_root)
    found = _captions(model, records, decoding, options, bad)
    say_set_aside(bad, "images")
    if not found:
        raise DataError("no image could be read, for the reasons above." if bad else "there are no images.")
    if options.out is None:
        for record, captions in found:
            for caption in captions:
                print(printed_line(record.id), printed_line(caption.text), sep="\t")
    else:
        write_captions_file(options.out, found, overwrite=options.overwrite)
        print(printed_line(f"wrote captions of {counted(len(found), 'image')} to {options.out}"))
    remark = few_distinct([captions[0].text for _, captions in found])
    if remark is not None:
        print(printed_line(f"warning: {remark}."), file=sys.stderr)


def _captions(
    model: Model, records: list[Record], decoding: Decoding, options: Any, bad: list[BadRecord]
) -> list[tuple[Record, list[Caption]]]:
    """Captions of the readable images; the others are added to `bad`."""
    batches = square_batches(model, records, batch_size=options.batch_size)
    shown = tracked(batches, len(records), options.batch_size, "captioning", quiet=options.quiet)
    found: list[tuple[Record, list[Caption]]] = []
    for batch in shown:
        bad += batch.bad
        captions = model.caption_stored(batch.images, decoding, first=len(found)) if batch.records else []
        found += zip(batch.records, captions, strict=True)
    return found
