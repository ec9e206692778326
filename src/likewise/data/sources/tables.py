"""Tables to records: rows of the same picture become one record with several texts."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from likewise.data.config import DataConfig
from likewise.data.images.refs import ArrowImage, ParquetImage
from likewise.data.record import BadRecord, ImageRef, Problem, Record, Source
from likewise.data.sources.path_resolver import PathResolver, find_image_root
from likewise.data.tables.names import is_missing, without_caption_number
from likewise.data.tables.roles import ROLES, Columns, listed_texts, recognise
from likewise.data.tables.table import Table
from likewise.data.text_encoding import check_texts, is_text, legible
from likewise.errors import RecordError, SourceError
from likewise.messages import first_names

__all__ = ["clean_text", "clean_texts", "source_of_tables"]

_EMPTY = "empty caption"
_ENCODED = ("Parquet", "Arrow")  # kinds of tables whose texts are always UTF-8


@dataclass(slots=True)
class _Gathered:
    """A record in the making."""

    record: Record
    texts: list[str] = field(default_factory=list)


def source_of_tables(
    tables: list[tuple[Table, str | None, str | None]],
    config: DataConfig,
    *,
    images: bool = True,
    splits_from: str | None = None,
) -> Source:
    """Read tables of the same columns as one source.

    Args:
        tables: each table, the split it stands for as a whole, and the domain, where file names say so.
        config: the user's options.
        images: find the image files; without, paths only tell which texts belong together.
        splits_from: what told the splits of the tables, if anything did.
    """
    _check_readable([table for table, _, _ in tables], config)
    _check_same_columns([table for table, _, _ in tables])
    first = next((table for table, _, _ in tables if table.num_rows > 0), tables[0][0])
    columns = recognise(first, config)
    if columns.image is None and not columns.texts:
        raise SourceError(
            f"{config.source}: no column of images or texts was recognised among {first_names(first.names)}; "
            f"name them with data.image_column and data.text_column{first.hint}"
        )
    source = Source(
        kind=f"table ({first.kind})" if len(tables) == 1 else f"{len(tables)} tables ({first.kind})",
        address=config.source,
        records=[],
        columns=columns.roles(),
        columns_found=first.names,
        roles_named=ROLES,
        splits_from=f"column {columns.split}" if columns.split is not None else splits_from,
        label_names=first.label_names.get(columns.label or ""),
    )
    if columns.image is None or columns.image in first.binary:
        source.unread["image_root"] = "no column holds paths of images"
    if all(table.kind in _ENCODED for table, _, _ in tables):
        source.unread["encoding"] = f"{first.kind} has an encoding of its own"
    for table, split, domain in tables:
        reader = _Reader(table, columns, config, split, domain, source, images)
        reader.read()
    return source


def _check_readable(tables: list[Table], config: DataConfig) -> None:
    """Without rows nothing can be told of the columns, which is not what to tell the user."""
    for table in tables:
        if not table.names and table.bad_rows:
            place, reason = table.bad_rows[0]
            raise SourceError(
                f"{table.name}: none of its {len(table.bad_rows):,} lines can be read as {table.kind}. "
                f"The first: {place}: {legible(reason)}"
            )
    if not any(table.num_rows or table.bad_rows for table in tables):
        raise SourceError(f"{config.source}: no rows in it, only columns ({first_names(tables[0].names)})")


def _check_same_columns(tables: list[Table]) -> None:
    for table in tables[1:]:
        if set(table.names) != set(tables[0].names):
            raise SourceError(
                f"the tables {', '.join(table.name for table in tables)} have different columns "
                f"({tables[0].name}: {first_names(tables[0].names)}; "
                f"{table.name}: {first_names(table.names)}). "
                "Name one of them as the source, or several of the same columns by a pattern"
            )


def clean_text(text: Any, config: DataConfig) -> str:
    """The text without space around it. Raises RecordError where there is none, or it is no sensible text."""
    if _is_blank(text):
        raise RecordError(_EMPTY)
    cleaned = str(text).strip()
    if len(cleaned) > config.max_text_characters:
        limit = f"{len(cleaned):,} characters (data.max_text_characters is {config.max_text_characters:,})"
        raise RecordError(f"caption too long: {limit}; an unclosed quotation mark?")
    check_texts({"caption": cleaned})
    return cleaned


def clean_texts(texts: Sequence[Any], config: DataConfig) -> tuple[list[str], list[tuple[int, str]]]:
    """The usable ones among the texts of one record; and of others the number and the reason.

    A blank one beside a usable one is passed over: a table has as many columns as the record with most
    captions needs. Where none is usable, the first blank one stands for all.
    """
    usable: list[str] = []
    faults: list[tuple[int, str]] = []
    blank: list[int] = []
    for number, text in enumerate(texts):
        if _is_blank(text):
            blank.append(number)
            continue
        try:
            usable.append(clean_text(text, config))
        except RecordError as error:
            faults.append((number, str(error)))
    if blank and not usable:
        faults.append((blank[0], _EMPTY))
    return usable, sorted(faults)


def _is_blank(text: Any) -> bool:
    return is_missing(text) or (isinstance(text, str) and not text.strip())


def _in_words(value: Any) -> str | None:
    """A cell as a name, without space around it; None where it is blank.

    One empty cell makes floats of a column of whole numbers: 3 and 3.0 are one name.
    """
    if is_missing(value):
        return None
    whole = isinstance(value, float) and value.is_integer()
    return str(int(value) if whole else value).strip() or None


class _Reader:
    """Reads one table into a source."""

    def __init__(
        self,
        table: Table,
        columns: Columns,
        config: DataConfig,
        split: str | None,
        domain: str | None,
        source: Source,
        images: bool,
    ) -> None:
        self._table, self._columns, self._config, self._source = table, columns, config, source
        self._images = table.column(columns.image) if columns.image is not None else None
        self._split, self._domain = split, None if domain is None else legible(domain)
        self._resolver = self._make_resolver() if images else None
        self._resolved: dict[str, ImageRef | RecordError] = {}
        self._reported: set[str] = set()
        self._gathered: dict[Any, _Gathered] = {}

    def read(self) -> None:
        """Append the table's records and problems to the source."""
        table, roles = self._table, self._columns
        for place, reason in table.bad_rows:
            self._source.problems.append(Problem("row", BadRecord(place, place, reason), self._split))
        optional = {
            role: self._labels(role, name)
            for role in ("label", "group", "split", "domain", "id")
            if (name := getattr(roles, role)) is not None
        }
        texts = [table.column(name) for name in roles.texts]
        for row in range(table.num_rows):
            said = {role: values[row] for role, values in optional.items()}
            self._add_row(row, said, [column[row] for column in texts])
        for gathered in self._gathered.values():
            self._source.records.append(replace(gathered.record, texts=tuple(gathered.texts)))

    def _labels(self, role: str, name: str) -> list[str | None]:
        """A column as strings; whole numbers become the names the file declares for them."""
        declared = self._table.label_names.get(name) if role == "label" else None
        values = self._table.column(name)
        if declared is not None:
            return [declared[v] if isinstance(v, int) and 0 <= v < len(declared) else None for v in values]
        return [_in_words(value) for value in values]

    def _add_row(self, row: int, said: dict[str, str | None], cells: list[Any]) -> None:
        place = self._table.place(row)
        split = said.get("split") or self._split
        raw = self._images[row] if self._images is not None else None
        if isinstance(raw, str):
            raw = without_caption_number(raw.strip())
        id_ = said.get("id") or (raw if isinstance(raw, str) and raw else place)
        if self._domain is not None:  # tables of several domains may have the same name
            id_, place = f"{self._domain}/{id_}", f"{self._domain}/{place}"
        try:
            check_texts({**said, "image path": raw})
        except RecordError as error:
            named = split if split is None or is_text(split) else self._split
            self._problem("row", place, place, str(error), named)
            return
        image = self._image(raw)
        if isinstance(image, RecordError):
            if id_ not in self._reported:  # one report a picture, not one a caption
                self._problem("image", id_, place, str(image), split)
                self._reported.add(id_)
            return
        group = said.get("group")
        if self._resolver is None and group is None and isinstance(raw, str) and raw:
            group = raw  # captions of one picture, whether or not it is there
        record = Record(
            id=id_,
            place=place,
            image=image,
            label=said.get("label"),
            group=group,
            domain=said.get("domain") or self._domain,
            split=split,
        )
        listed = [text for cell in cells for text in listed_texts(cell, self._config.text_separator)]
        texts = []
        for together in [[text] for text in listed] if self._columns.apart else [listed]:
            usable, faults = clean_texts(together, self._config)
            texts += usable
            for _, reason in faults:
                self._problem("text", id_, place, reason, split)
        self._gather(row, record, texts)

    def _gather(self, row: int, record: Record, texts: list[str]) -> None:
        """Merge with earlier rows of the same picture, unless the rows say different things about it."""
        if self._columns.apart:
            for number, text in enumerate(texts):
                single = replace(record, id=f"{record.id}#{number}")
                self._gathered[row, number] = _Gathered(single, [text])
            return
        same: Any = (record.image, record.split, record.label, record.domain, record.group)
        if record.image is None and not (self._images is not None and record.group):
            same = row
        gathered = self._gathered.setdefault(same, _Gathered(record))
        gathered.texts.extend(texts)

    def _problem(self, part: str, id_: str, place: str, reason: str, split: str | None) -> None:
        self._source.problems.append(Problem(part, BadRecord(id_, place, reason), split))

    def _image(self, raw: Any) -> ImageRef | RecordError | None:
        if self._images is None or self._resolver is None:
            return None
        if is_missing(raw) or raw == "":
            return RecordError("no image: the cell is empty")
        if isinstance(raw, (ParquetImage, ArrowImage)):
            return raw
        if not isinstance(raw, str):
            return RecordError(f"no image: a path was expected in the cell, got {type(raw).__name__}")
        if raw not in self._resolved:
            try:
                self._resolved[raw] = self._resolver.resolve(raw)
            except RecordError as error:
                self._resolved[raw] = error
        return self._resolved[raw]

    def _make_resolver(self) -> PathResolver:
        paths = [path for value in self._images or [] if isinstance(value, str) and (path := value.strip())]
        chosen = self._config.image_root
        root = chosen if chosen is not None else find_image_root(self._table.folder, paths[:200])
        anywhere = chosen is None and bool(paths) and all(map(os.path.isabs, paths))
        if anywhere:
            self._source.notes.append("every image path is absolute, so files anywhere are read")
        elif chosen is None and root != self._table.folder:
            self._source.notes.append(f"image paths start at {os.path.basename(root)}/, where the files are")
        return PathResolver(root, anywhere=anywhere, follow_links=self._config.follow_links)
