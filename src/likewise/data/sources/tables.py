"""Tables to records: rows of the same image become one record with several texts."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

from likewise.data.cells import EMPTY_TEXT
from likewise.data.column_kinds import Classes, Names, Parsing
from likewise.data.columns import MAIN, Needs, column_names, column_of, columns_read
from likewise.data.config import DataConfig
from likewise.data.record import BadRecord, ImageRef, Problem, Record, Source
from likewise.data.sources.path_hints import path_hints
from likewise.data.sources.path_resolver import PathResolver, find_image_root
from likewise.data.stored_kinds import Stored
from likewise.data.tables.names import is_missing, without_caption_number
from likewise.data.tables.roles import Roles, recognise
from likewise.data.tables.table import Table
from likewise.data.text_encoding import check_texts, is_text, legible
from likewise.errors import RecordError, SourceError
from likewise.messages import first_names

__all__ = ["source_of_tables"]

_ENCODED = ("Parquet", "Arrow")  # kinds of tables whose texts are always UTF-8


def source_of_tables(
    tables: list[tuple[Table, str | None, str | None]],
    config: DataConfig,
    needs: Needs | None = None,
    *,
    splits_from: str | None = None,
) -> Source:
    """Read tables of the same columns as one source.

    Args:
        tables: each table, the split it stands for as a whole, and the domain, where file names say so.
        config: the user's options.
        needs: the columns that are read; see `columns_read`. Without images, paths only tell which texts
            belong together.
        splits_from: what told the splits of the tables, if anything did.
    """
    _check_readable([table for table, _, _ in tables], config)
    _check_same_columns([table for table, _, _ in tables])
    first = next((table for table, _, _ in tables if table.num_rows > 0), tables[0][0])
    reads = columns_read(needs)
    texts = needs.headers_of("text") if needs is not None else ""
    roles = recognise(first, config, reads, texts=texts)
    there = [name for name in MAIN if name in roles.headers]
    main = next((name for name in there if name in reads), next(iter(there), "image"))
    image, split = roles.header(main), roles.header("split")
    if image is None and "text" not in roles.headers:
        raise SourceError(
            f"{config.source}: no column of images, sounds or texts was recognised among "
            f"{first_names(first.names)}; name them with --data.image-column, --data.audio-column and "
            f"--data.text-column{first.hint}"
        )
    read = {role: names for role, names in roles.headers.items() if role in reads or role == main}
    source = Source(
        kind=f"table ({first.kind})" if len(tables) == 1 else f"{len(tables)} tables ({first.kind})",
        address=config.source,
        records=[],
        columns={role: ", ".join(names) for role, names in read.items()},
        columns_found=first.names,
        roles_named=column_names(),
        splits_from=f"column {split}" if split is not None else splits_from,
        label_names=first.label_names.get(roles.header("label") or ""),
    )
    if image is None or image in first.binary:
        source.unread["image_root"] = "no column holds paths of images or sounds"
    if all(table.kind in _ENCODED for table, _, _ in tables):
        source.unread["encoding"] = f"{first.kind} has an encoding of its own"
    if texts and roles.other_texts and config.text_column is None:
        source.notes.append(
            f"the texts are those of the column {', '.join(roles.headers['text'])}, not of "
            f"{first_names(roles.other_texts)}; --data.text-column names another"
        )
    further = source.columns_unread if needs is not None and needs.further else []
    for table, named, domain in tables:
        files = main if main in reads else None
        reader = _Reader(table, Roles(read, roles.apart), config, named, domain, source, main, files)
        reader.by_row = needs is not None and needs.by_row
        reader.read([name for name in further if name not in table.binary])
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


class _Reader:
    """Reads one table into a source."""

    by_row = False
    """Each row is a record of its own, and is reported by itself."""

    def __init__(
        self,
        table: Table,
        roles: Roles,
        config: DataConfig,
        split: str | None,
        domain: str | None,
        source: Source,
        main: str,
        files: str | None,
    ) -> None:
        self._table, self._config, self._source, self._apart = table, config, source, roles.apart
        self._split, self._domain = split, None if domain is None else legible(domain)
        self._cells = {role: [table.column(name) for name in names] for role, names in roles.headers.items()}
        self._main, self._paths = main, self._cells.get(main, [None])[0]
        if files is None:
            self._cells.pop(main, None)
        kinds = {role: column_of(role).kind for role in self._cells}
        self._names = [role for role, kind in kinds.items() if issubclass(kind, (Classes, Names))]
        # Images first: of a row without its image nothing else is looked at.
        others = [role for role in kinds if role not in self._names]
        self._others = sorted(others, key=lambda role: not issubclass(kinds[role], Stored))
        self._merges = all(column_of(role).always or role == main for role in self._cells)
        self._file_roles = [role for role in self._others if issubclass(kinds[role], Stored)]
        self._resolver = self._make_resolver() if self._file_roles else None
        self._resolved: dict[str, ImageRef | RecordError] = {}
        self._reported: set[str] = set()
        self._dropped: list[str] = []
        self._gathered: dict[Any, Record] = {}
        self._further: dict[str, Sequence[Any]] = {}
        self._how = {role: self._parsing(role, roles) for role in self._cells}

    def _parsing(self, role: str, roles: Roles) -> Parsing:
        declared = self._table.label_names.get(roles.header(role) or "") if role == "label" else None
        drop = self._dropped.append if role == "text" else _refuse
        return Parsing(config=self._config, resolve=self._resolve, drop=drop, class_names=declared)

    def read(self, further: Sequence[str]) -> None:
        """Append the table's records and problems to the source.

        Args:
            further: columns that play no role, and are kept as they are.
        """
        self._further = {name: self._table.column(name) for name in further}
        for place, reason in self._table.bad_rows:
            self._source.problems.append(Problem("row", BadRecord(place, place, reason), self._split))
        for row in range(self._table.num_rows):
            self._add_row(row)
        self._source.records.extend(self._gathered.values())
        if self._resolver is not None:
            refused = {path: str(why) for path, why in self._resolved.items() if isinstance(why, RecordError)}
            self._source.hints += path_hints(
                self._resolver.root, refused, all_refused=len(refused) == len(self._resolved)
            )

    def _parse(self, role: str, row: int) -> Any:
        parse, how = column_of(role).kind.parse, self._how[role]
        cells = [column[row] for column in self._cells[role]]
        if role == "text" and self._apart:
            return tuple(text for cell in cells for text in parse([cell], how) or ())
        return parse(cells, how)

    def _add_row(self, row: int) -> None:
        place, main = self._table.place(row), self._main
        values = {role: self._parse(role, row) for role in self._names}
        named, split = values.pop("id", None), values.pop("split", None) or self._split
        path = self._paths[row] if self._paths is not None else None
        path = without_caption_number(path.strip()) if isinstance(path, str) else None
        id_ = named or path or place
        if self._domain is not None:  # tables of several domains may have the same name
            id_, place = f"{self._domain}/{id_}", f"{self._domain}/{place}"
        try:
            check_texts({**values, "id": named, "split": split, f"{main} path": path})
        except RecordError as error:
            usable = split if split is None or is_text(split) else self._split
            self._problem("row", place, place, str(error), usable)
            return
        self._dropped.clear()
        for role in self._others:
            try:
                values[role] = self._parse(role, row)
                if role == main and values[role] is None:
                    raise RecordError(f"no {'sound' if main == 'audio' else main}: the cell is empty")
            except RecordError as error:
                reason = str(error) if role == main else f"{role}: {error}"
                # One report an image, not one a caption.
                if role != main or id_ not in self._reported or self.by_row:
                    self._problem(role, id_, place, reason, split)
                    self._reported.add(id_)
                return
        if self._resolver is None and path and values.get("group") is None:
            values["group"] = path  # captions of one image, whether or not it is there
        values["domain"] = values.get("domain") or self._domain
        for reason in self._dropped:
            self._problem("text", id_, place, reason, split)
        if self._further:
            cells = {name: column[row] for name, column in self._further.items()}
            values["further"] = {
                name: cell for name, cell in cells.items() if not is_missing(cell) and cell != ""
            }
        if self.by_row:
            files = {role: self._cells[role][0][row] for role in self._file_roles}
            values["written"] = {role: cell for role, cell in files.items() if isinstance(cell, str)}
        self._gather(row, Record(id=id_, place=place, split=split, **values))

    def _gather(self, row: int, record: Record) -> None:
        """Merge with earlier rows of the same image, unless the rows say different things about it."""
        if self._apart:
            for number, text in enumerate(record.texts):
                single = Record(id=f"{record.id}#{number}", place=record.place, split=record.split)
                single.values = record.values | {"text": (text,)}
                self._gathered[row, number] = single
            return
        file = record.values.get(self._main)
        same: Any = (file, record.split, record.label, record.domain, record.group)
        grouped = file is not None or (self._paths is not None and record.group is not None)
        merges = grouped and self._merges and not self.by_row
        earlier = self._gathered.setdefault(same if merges else row, record)
        if earlier is not record and record.texts:
            earlier.values["text"] = earlier.texts + record.texts

    def _problem(self, part: str, id_: str, place: str, reason: str, split: str | None) -> None:
        self._source.problems.append(Problem(part, BadRecord(id_, place, reason), split))

    def _resolve(self, path: str) -> ImageRef:
        assert self._resolver is not None, "only files are resolved"
        if path not in self._resolved:
            try:
                self._resolved[path] = self._resolver.resolve(path)
            except RecordError as error:
                self._resolved[path] = error
        found = self._resolved[path]
        if isinstance(found, RecordError):
            raise found
        return found

    def _make_resolver(self) -> PathResolver:
        cells = self._cells[self._file_roles[0]][0]
        paths = [path for value in cells if isinstance(value, str) and (path := value.strip())]
        chosen = self._config.image_root
        root = chosen if chosen is not None else find_image_root(self._table.folder, paths[:200])
        anywhere = chosen is None and bool(paths) and all(map(os.path.isabs, paths))
        if anywhere:
            self._source.notes.append("every image path is absolute, so files anywhere are read")
        elif chosen is None and root != self._table.folder:
            self._source.notes.append(f"image paths start at {os.path.basename(root)}/, where the files are")
        return PathResolver(
            root, anywhere=anywhere, follow_links=self._config.follow_links, moved=chosen is not None
        )


def _refuse(reason: str) -> None:
    """Of a text that cannot be dropped: the row means nothing without it. A blank cell is no text at all."""
    if reason != EMPTY_TEXT:
        raise RecordError(reason)
