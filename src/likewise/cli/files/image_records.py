"""Records with images that a command works through, batch by batch, and those that it sets aside."""

from __future__ import annotations

import io
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from PIL import Image

from likewise.data import DataConfig, open_source
from likewise.data.columns import Needs, column_names
from likewise.data.images.stream import ImageBatch, image_batches
from likewise.data.record import BadRecord, Generated, Record, Source
from likewise.data.stored_kinds import Images
from likewise.messages import counted, flag, printable, printed_line
from likewise.model.model import Model

__all__ = [
    "list_images",
    "open_images",
    "say_hints",
    "say_set_aside",
    "square_batches",
    "tracked",
    "with_own_flags",
]

T = TypeVar("T")
_REASONS, _OF_REASON = 10, 180


@dataclass(frozen=True)
class _Drawn:
    """A way to the bytes of a generated image."""

    row: int
    pixels: Any = field(compare=False, repr=False)
    num_bytes = 0

    @property
    def key(self) -> str:
        """See ImageRef."""
        return f"generated {self.row}"

    def read(self) -> bytes:
        """As a PNG."""
        file = io.BytesIO()
        Image.fromarray(self.pixels[self.row].transpose(1, 2, 0)).save(file, "PNG")
        return file.getvalue()


def open_images(config: DataConfig, needs: Needs) -> Source:
    """A source whose images can all be read as files, generated ones too."""
    source = open_source(config, needs)
    for record in source.records if source.pixels is not None else ():
        for column in column_names(Images):
            if isinstance(ref := record.values.get(column), Generated):
                record.values[column] = _Drawn(ref.row, source.pixels)
    return source


def list_images(sources: Sequence[str], *, image_root: str | None) -> tuple[list[Record], list[BadRecord]]:
    """The records of all sources, and what listing them has set aside; says what to try if nothing is left.

    Args:
        sources: as `likewise data` takes them.
        image_root: where the paths in tables start; see `DataConfig`.
    """
    configs = [DataConfig(source=source, image_root=image_root) for source in sources]
    opened = [open_images(config, Needs("image")) for config in configs]
    records = [record for source in opened for record in source.records]
    if not records:
        say_hints([with_own_flags(hint, ["image_root"]) for one in opened for hint in one.hints])
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


def with_own_flags(message: str, names: Iterable[str]) -> str:
    """A message about data, with these of its options called as in commands that take them without --data."""
    for name in names:
        of_data = flag("data", name)
        message = message.replace(of_data, of_data.replace("--data.", "--"))
    return message


def say_hints(hints: Sequence[str]) -> None:
    """Tell what may help where nothing can be read."""
    for hint in hints:
        print(printed_line(f"try: {hint}."), file=sys.stderr)
