"""Rows of a source with decoded images and texts, which `answer`, `entail`, `compare` and `ground` read."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import torch
import tyro
from torch import Tensor

from likewise.cli.files.image_records import (
    open_images,
    say_hints,
    say_set_aside,
    tracked,
    with_own_flags,
)
from likewise.cli.files.row_files import write_rows
from likewise.data import DataConfig
from likewise.data.columns import Needs, column_names
from likewise.data.images.decode import decode_square
from likewise.data.images.refs import FileImage
from likewise.data.record import BadRecord, Record, Source
from likewise.data.stored_kinds import Images
from likewise.errors import ConfigError, DataError, RecordError, SourceError
from likewise.messages import first_names, flag, printed_line
from likewise.model.model import Model

__all__ = [
    "Finding",
    "Row",
    "RowOptions",
    "Rows",
    "finish",
    "open_rows",
    "rows_of_files",
    "squares_of",
]

_NUM_THREADS = 2


@dataclass(frozen=True, kw_only=True)
class RowOptions:
    """What the commands have in common. Options that `DataConfig` has too are passed on to it."""

    run: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="RUN")]
    """A run's folder, a model folder or a hub name."""

    out: str | None = None
    """File of the rows that are found: .csv, .jsonl or .parquet. Printed when not given."""

    text_column: str | None = None
    """Column of the table with the texts, where there are several such columns or its name is unusual."""

    image_column: str | None = None
    """Column of the table with image paths or bytes; recognised by name and content when not given."""

    image_root: str | None = None
    """Folder that the paths in the table are relative to; the table's own folder (or its images/) when not
    given."""

    follow_links: bool = False
    """Read images through symbolic links that lead outside the data's folder."""

    images: str | None = None
    """Table of the images, where the table of texts names them by a key."""

    join_column: str | None = None
    """Column that is the key of `--images`; recognised when not given."""

    delimiter: str | None = None
    """Delimiter of a CSV file, such as ";" or "tab"; guessed when not given."""

    encoding: str = "utf-8"
    """Encoding of a text table, such as gb18030."""

    batch_size: int = 64
    """Rows at a time."""

    device: str = "auto"
    """auto, cpu, cuda, cuda:1, ..."""

    quiet: bool = False
    """Show no progress."""

    def data_config(self, source: str) -> DataConfig:
        """How a source is read."""
        given = {one.name: getattr(self, one.name) for one in fields(self)}
        known = {one.name for one in fields(DataConfig)} - {"source"}
        return DataConfig(source=source, **{name: given[name] for name in known & given.keys()})

    def own_flags(self, message: str) -> str:
        """A message about data, with the options called as they are here: --image-root."""
        names = [known.name for known in fields(DataConfig) if known.name != "source"]
        return with_own_flags(message, [name for name in names if name in vars(self)])


class Row(NamedTuple):
    """One record that can be used.

    Attributes:
        record: of the source.
        images: the decoded image of each column that is read.
        texts: those of the command line, else its own.
    """

    record: Record
    images: list[Any]
    texts: Sequence[str]


class Finding(NamedTuple):
    """What a command has found about one text: rows for a file, cells for a line."""

    rows: list[dict[str, Any]]
    cells: list[str]


@dataclass(kw_only=True)
class Rows:
    """The records of a source.

    Attributes:
        source: as it was opened.
        records: those that have all that is needed, in the order of the source.
        columns: the columns of images.
        texts: of a record.
        by_row: whether the texts are the records' own.
        joined: whether the images come from another table.
        bad: what cannot be used; `batches` adds to it.
        hints: for the user, where nothing can be used.
    """

    source: Source
    records: list[Record]
    columns: Sequence[str]
    texts: Callable[[Record], Sequence[str]]
    by_row: bool = False
    joined: bool = False
    bad: list[BadRecord] = field(default_factory=list)
    hints: list[str] = field(default_factory=list)

    def batches(self, decode: Callable[[bytes], Any], options: RowOptions, words: str) -> Iterable[list[Row]]:
        """Rows with their images, some at a time, with a bar; unreadable ones are added to `bad`."""
        batches = self._batches(decode, options.batch_size)
        return tracked(batches, len(self.records), options.batch_size, words, quiet=options.quiet)

    def _batches(self, decode: Callable[[bytes], Any], batch_size: int) -> Iterator[list[Row]]:
        def decoded(ref: Any) -> Any:
            try:
                return decode(ref.read())
            except RecordError as error:
                return error

        with ThreadPoolExecutor(_NUM_THREADS) as pool:
            for start in range(0, len(self.records), batch_size):
                records = self.records[start : start + batch_size]
                refs = list(dict.fromkeys(one.values[column] for one in records for column in self.columns))
                found = dict(zip(refs, pool.map(decoded, refs), strict=True))  # rows share their image
                piece = []
                for record in records:
                    images = [found[record.values[column]] for column in self.columns]
                    pairs = zip(self.columns, images, strict=True)
                    faults = [f"{name}: {one}" for name, one in pairs if isinstance(one, RecordError)]
                    if not faults:
                        piece.append(Row(record, images, self.texts(record)))
                    else:
                        self.set_aside(record, "; ".join(faults).removeprefix("image: "))
                yield piece

    def set_aside(self, record: Record, reason: str) -> None:
        """Add a record to those that cannot be used."""
        self.bad.append(BadRecord(record.id, record.place, reason))

    def named(self, record: Record) -> dict[str, str]:
        """Where a record is, if its texts are its own; and its images, as a table has them, else by path."""
        names = {"row": record.place} if self.by_row else {}
        for column in self.columns:
            ref = record.values[column]
            name = record.group if self.joined else None  # an image of another table has a key
            if isinstance(ref, FileImage):
                relative = not os.path.isabs(self.source.address) and "://" not in ref.address
                name = os.path.relpath(ref.address) if relative else ref.address
            names[column] = record.written.get(column, record.id if name is None else name)
        return names


def squares_of(model: Model) -> Callable[[bytes], Tensor]:
    """A function that decodes an image as in the model's training: (3, S, S) uint8."""
    size, images = model.image_encoder.image_size, model.config["images"]
    size = images["store_size"] or size
    return lambda data: torch.tensor(decode_square(data, size=size, fit=images["fit"])[0])


def open_rows(
    options: RowOptions,
    address: str,
    needs: Needs,
    *,
    noun: str,
    words: Sequence[str] = (),
    texts: Callable[[Record], Sequence[str]] = lambda record: record.texts,
) -> Rows:
    """The rows of a source, in its order. Remarks on how it is read are printed.

    Args:
        options: of the command.
        address: as `likewise data` takes it.
        needs: the columns that are read of a table; those of images are required.
        noun: what a text is called, such as "question".
        words: texts for each image, in place of those of the source.
        texts: of a record; it is set aside where there are none.

    Raises:
        ConfigError: there are no texts, or an option has no effect.
        DataError: there is no such source, or it lacks a column.
    """
    for place, text in enumerate(words):
        if not text.strip():
            raise ConfigError(f"{noun} {place} is empty.")
    columns = sorted(name for name in needs.required() if name in column_names(Images))
    try:
        config = options.data_config(address)
        source = open_images(config, Needs(*columns) if words else needs.row_by_row())
    except SourceError as error:
        if words and os.path.isfile(address) and not Path(address).suffix:  # whatever its name may be
            return rows_of_files(options, {"image": address}, words)
        raise SourceError(options.own_flags(str(error))) from error
    texts = (lambda record: words) if words else texts
    _check_columns(options, source, columns, noun, texts)
    bad = [
        BadRecord(one.bad.id, one.bad.place, options.own_flags(one.bad.reason))
        for one in source.problems
        if not words or one.part != "text"
    ]
    rows = Rows(
        source=source,
        records=[],
        columns=columns,
        texts=texts,
        by_row=not words,
        joined=options.images is not None,
        bad=bad,
        hints=[options.own_flags(hint) for hint in source.hints],
    )
    told = {one.place for one in bad}
    for record in source.records:
        lacking = [name.replace("_", " ") for name in columns if name not in record.values]
        lacking += [] if texts(record) else [noun]
        if not lacking:
            rows.records.append(record)
        elif record.place not in told:
            rows.set_aside(record, f"no {lacking[0]}")
    unread = ["--text-column has no effect: the texts are those of the command line"]
    for note in source.notes + (unread if words and options.text_column is not None else []):
        print(printed_line(f"note: {options.own_flags(note)}."), file=sys.stderr)
    return rows


def rows_of_files(options: RowOptions, files: Mapping[str, str], words: Sequence[str]) -> Rows:
    """One row: an image file of each column, with texts.

    Raises:
        ConfigError: an option of tables is given.
    """
    address = " and ".join(files.values())
    config = options.data_config(address)
    if given := config.given(*(name.name for name in fields(DataConfig) if name.name != "source")):
        flags = options.own_flags(", ".join(flag("data", name) for name in given))
        raise ConfigError(f"{flags}: no effect without a table; leave it out.")
    record = Record(id=address, place=address)
    record.values |= {column: FileImage(file, 0, "") for column, file in files.items()}
    source = Source(kind="image files", address=address, records=[record])
    return Rows(source=source, records=[record], columns=tuple(files), texts=lambda record: words)


def _check_columns(
    options: RowOptions,
    source: Source,
    columns: Sequence[str],
    noun: str,
    texts: Callable[[Record], Sequence[str]],
) -> None:
    """Some record must have what is needed; where all are set aside, the reasons say more."""
    if not source.records:
        return
    kind = f"{source.address} is a {source.kind}"
    if "table" in source.kind:
        kind += f" with the columns {first_names(source.columns_found)}"
    for name in columns:
        if not any(name in record.values for record in source.records) and name not in source.columns:
            option = f"--{name.replace('_', '-')}-column names one"
            option = option if "table" in source.kind else "give a table that has one"
            raise DataError(f"no column {name}: {kind}; {option}.")
    if not any(map(texts, source.records)) and not {"text", "boxes"} & source.columns.keys():
        raise ConfigError(
            f"no {noun}: give one on the command line, after the image, or a table with a column of {noun}s "
            f"(--text-column names it); {kind}."
        )


def finish(found: Sequence[Finding], rows: Rows, out: str | None, wrote: str) -> None:
    """Print or write what was found, and say what was set aside.

    Args:
        found: a command's findings.
        rows: of which.
        out: the file; None to print.
        wrote: what they are, such as "answers to 3 questions".

    Raises:
        DataError: nothing was found.
    """
    if found and out is None:
        for one in found:
            print("\t".join(map(printed_line, one.cells)))  # no tab is inside a cell
    elif found:
        write_rows(Path(str(out)), [row for one in found for row in one.rows])
        print(printed_line(f"wrote {wrote} to {out}"))
    say_set_aside(rows.bad, "rows")
    if not found:
        say_hints(rows.hints)
        raise DataError(f"nothing in {rows.source.address} can be used, for the reasons above.")
