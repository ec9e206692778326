"""Records with images that a command works through, batch by batch, and those that it sets aside."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Sequence
from typing import TypeVar

from likewise.data import DataConfig, open_source
from likewise.data.columns import Needs
from likewise.data.images.stream import ImageBatch, image_batches
from likewise.data.record import BadRecord, Record
from likewise.messages import counted, printable, printed_line
from likewise.model.model import Model

__all__ = ["list_images", "say_set_aside", "square_batches", "tracked"]

T = TypeVar("T")
_REASONS, _OF_REASON = 10, 180


def list_images(sources: Sequence[str]) -> tuple[list[Record], list[BadRecord]]:
    """The records of all sources, and what listing them has set aside."""
    opened = [open_source(DataConfig(source=source), Needs("image")) for source in sources]
    records = [record for source in opened for record in source.records]
    return records, [
        problem.bad for source in opened for problem in source.problems if problem.part != "text"
    ]


def square_batches(model: Model, records: Sequence[Record], *, batch_size: int) -> Iterator[ImageBatch]:
    """The images of records, decoded as in the model's training."""
    size, images = model.image_encoder.image_size, model.config["images"]
    return image_batches(records, size=images["store_size"] or size, fit=images["fit"], batch_size=batch_size)


def tracked(
    batches: Iterable[T], num_records: int, batch_size: int, words: str, *, quiet: bool
) -> Iterable[T]:
    """The batches, with a bar in a terminal.

    Args:
        batches: of the records.
        num_records: of all batches together.
        batch_size: of all batches but the last.
        words: what is done with them.
        quiet: show no bar.
    """
    from rich.progress import track

    hidden = quiet or not sys.stderr.isatty()
    return track(batches, description=words, total=-(-num_records // batch_size), disable=hidden)


def say_set_aside(bad: Sequence[BadRecord], what: str) -> None:
    """Tell how many of what ("rows", "images") could not be used, and why; nothing if all could."""
    if bad:
        reasons = ", ".join(
            printable(f"{one.place}: {one.reason}", most=_OF_REASON) for one in bad[:_REASONS]
        )
        reasons += f" and {len(bad) - _REASONS:,} more" if len(bad) > _REASONS else ""
        number = counted(len(bad), what.removesuffix("s"))
        print(printed_line(f"{number} set aside: {reasons}"), file=sys.stderr)
