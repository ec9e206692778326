"""Records of a source with their decoded images and texts: what `entail`, `compare` and `ground` work on."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from likewise.cli.files.image_records import say_set_aside, tracked
from likewise.cli.files.row_files import write_rows
from likewise.data import DataConfig, open_source
from likewise.data.columns import Needs
from likewise.data.images.decode import decode_upright
from likewise.data.record import BadRecord, Record
from likewise.errors import DataError, RecordError
from likewise.messages import printed_line

__all__ = ["Rows", "finish", "open_rows", "print_cells"]


class Rows(NamedTuple):
    """Records, and those that cannot be used.

    Attributes:
        records: of the source.
        columns: the columns of images that are read.
        bad: is added to where an image cannot be decoded.
    """

    records: list[Record]
    columns: tuple[str, ...]
    bad: list[BadRecord]

    def batches(
        self, batch_size: int, words: str, *, quiet: bool
    ) -> Iterable[list[tuple[Record, list[Any]]]]:
        """Records with their images, some at a time, with a bar; unreadable ones are left out."""
        return tracked(self._batches(batch_size), len(self.records), batch_size, words, quiet=quiet)

    def _batches(self, batch_size: int) -> Iterator[list[tuple[Record, list[Any]]]]:
        for start in range(0, len(self.records), batch_size):
            piece = []
            for record in self.records[start : start + batch_size]:
                try:
                    piece.append((record, [_decoded(record, column) for column in self.columns]))
                except RecordError as error:
                    self.bad.append(BadRecord(record.id, record.place, str(error)))
            yield piece


def _decoded(record: Record, column: str) -> Any:
    image = record.values.get(column)
    if image is None:
        raise RecordError(f"no {column.replace('_', ' ')}")
    return decode_upright(image.read())


def open_rows(source: str, columns: tuple[str, ...], *more: str) -> Rows:
    """The records of a table or another source.

    Args:
        source: as `likewise data` takes it.
        columns: the columns of images.
        more: other columns that are required, such as "text".

    Raises:
        DataError: there is no such source, or it lacks a column.
    """
    opened = open_source(DataConfig(source=source), Needs(*columns, *more))
    for column in (*columns, *more):
        if not any(record.values.get(column) for record in opened.records):
            raise DataError(
                f"{source}: understood as {opened.kind}, without a column {column}; name a table with "
                f"columns {', '.join((*columns, *more))}, or give images and texts on the command line."
            )
    return Rows(opened.records, columns, [problem.bad for problem in opened.problems])


def finish(
    found: list[dict[str, Any]],
    bad: list[BadRecord],
    out: str | None,
    cells: Callable[[dict[str, Any]], list[str]],
) -> None:
    """Print or write rows, and say what was set aside.

    Args:
        found: the rows.
        bad: records that could not be used.
        out: the file; None to print.
        cells: what is printed of a row.

    Raises:
        DataError: there is no row.
    """
    if not found and not bad:
        raise DataError("there was nothing to judge.")
    if found and out is None:
        for row in found:
            print_cells(cells(row))
    elif found:
        write_rows(Path(str(out)), found)
        print(f"wrote {len(found):,} rows to {printed_line(str(out))}")
    say_set_aside(bad, "records")
    if not found:
        raise DataError("no row could be judged, for the reasons above.")


def print_cells(cells: Sequence[str]) -> None:
    """Print a row, with tabs between its cells and none inside."""
    print("\t".join(map(printed_line, cells)))
