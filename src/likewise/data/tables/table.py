"""A table as the rest of this package sees it, and the readers that make one of each file format."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from likewise.data.files import folder_of, name_of, open_binary, read_start, read_whole, stat_entry
from likewise.data.tables.csv_rows import split_rows
from likewise.data.tables.names import is_image_name, looks_like_image_path
from likewise.data.text_encoding import decoded, is_text
from likewise.errors import SourceError

__all__ = ["TABLE_SUFFIXES", "Table", "is_delimited", "is_table", "open_table"]

TABLE_SUFFIXES = (".csv", ".tsv", ".tab", ".jsonl", ".ndjson", ".json", ".parquet", ".arrow")
_COMPRESSED = ("", ".gz", ".bz2", ".xz", ".zst")
_HEAD_ROWS = 50
_PEEK_BYTES = 4096


@dataclass(kw_only=True)
class Table:
    """Columns of equal length, read when asked for.

    Attributes:
        name: the file's name, used in places ("captions.csv").
        folder: where relative image paths start.
        kind: "CSV", "TSV", "JSON lines", "Parquet", "Arrow".
        names: the columns.
        num_rows: how many rows were read.
        column: reads one whole column; cells of binary columns come as ImageRef.
        head: the first few values of a column (of a binary column: nothing).
        place: where the user finds a row.
        binary: columns of encoded images (bytes, or Hugging Face's {bytes, path}).
        bad_rows: row, or row -1 where it could not even be placed in the columns; its place; the reason.
        label_names: names of whole-number labels where the file declares them.
        hint: how the file may be meant instead, to end the message where its columns are not understood.
    """

    name: str
    folder: str
    kind: str
    names: list[str]
    num_rows: int
    column: Callable[[str], list[Any]]
    head: Callable[[str], list[Any]]
    place: Callable[[int], str]
    binary: frozenset[str] = frozenset()
    bad_rows: list[tuple[str, str]] = field(default_factory=list)
    label_names: dict[str, list[str]] = field(default_factory=dict)
    hint: str = ""


def is_table(address: str) -> bool:
    """Whether the name is that of a table this package reads."""
    name = address.lower()
    return any(name.endswith(suffix + packed) for suffix in TABLE_SUFFIXES for packed in _COMPRESSED)


def is_delimited(address: str) -> bool:
    """Whether a .txt file is a table after all: its first line has an image or an image column's name."""
    first = read_start(address, _PEEK_BYTES).split(b"\n", 1)[0].decode("utf-8", "replace")
    cells = first.strip().split(max(",;\t|", key=first.count))
    return len(cells) > 1 and any(looks_like_image_path(cell) or is_image_name(cell) for cell in cells)


def open_table(address: str, *, encoding: str) -> Table:
    """Open a table by its suffix. Raises SourceError where it is empty or damaged as a whole."""
    bare = address.lower()
    for packed in _COMPRESSED[1:]:
        bare = bare.removesuffix(packed)
    if bare.endswith(".parquet"):
        return _open_parquet(address)
    if bare.endswith(".arrow"):
        from likewise.data.tables.arrow import open_arrow_table

        return open_arrow_table([address], name=name_of(address), folder=folder_of(address))
    text = decoded(read_whole(address, decompress=True), encoding)
    if not text.strip():
        raise SourceError(f"{address}: the table is empty")
    if bare.endswith((".jsonl", ".ndjson", ".json")):
        return _from_json(address, text)
    return _from_delimited(address, text)


def _in_memory(
    address: str,
    kind: str,
    names: list[str],
    columns: list[list[Any]],
    lines: list[int],
    bad: list[tuple[str, str]],
) -> Table:
    by_name = dict(zip(names, columns, strict=True))
    name = name_of(address)
    return Table(
        name=name,
        folder=folder_of(address),
        kind=kind,
        names=names,
        num_rows=len(lines),
        column=lambda wanted: by_name[wanted],
        head=lambda wanted: by_name[wanted][:_HEAD_ROWS],
        place=lambda row: f"{name}:{lines[row]}",
        bad_rows=bad,
    )


def _from_delimited(address: str, text: str) -> Table:
    """CSV or TSV. A header is expected, and invented where the first line is plainly data."""
    first_line, undecoded = text.split("\n", 1)[0], not is_text(text)
    delimiter = max(",;\t|", key=first_line.count)
    rows, lines, bad_lines = split_rows(text, delimiter)
    if bad_lines and (not rows or bad_lines[0][0] < lines[0]):
        number, reason = bad_lines[0]
        raise SourceError(f"{address}: line {number}, the first: {reason}. Mend its quotation marks")
    names = [name.strip() for name in rows[0]] if rows else []
    if _is_data(names):
        names = _invented_names(names)
    else:
        if not all(map(is_text, names)):
            if "\0" in first_line:
                raise SourceError(f"{address}: no table: there are zero bytes in its first line")
            raise SourceError(
                f"{address}: the first line is no valid text in this encoding; name the file's own, such as "
                "--data.encoding gb18030"
            )
        rows, lines = rows[1:], lines[1:]
    name, width = name_of(address), len(names)
    kept, kept_lines = [], []
    for row, line in zip(rows, lines, strict=True):
        if len(row) != width:
            bad_lines.append((line, f"{len(row)} fields where the header has {width}"))
        elif undecoded and not all(map(is_text, row)):
            bad_lines.append((line, "wrong encoding: these bytes are no valid text (see data.encoding)"))
        else:
            kept.append(row)
            kept_lines.append(line)
    bad = [(f"{name}:{line}", reason) for line, reason in sorted(bad_lines)]
    columns = [list(column) for column in zip(*kept, strict=True)] if kept else [[] for _ in names]
    # Spreadsheets write out columns that were once touched and hold nothing.
    used = [place for place, name in enumerate(names) if name or any(map(str.strip, columns[place]))]
    names, columns = [names[place] for place in used], [columns[place] for place in used]
    if len(set(names)) < len(names):
        listed = ", ".join(name or "(no name)" for name in names)
        raise SourceError(f"{address}: two columns have the same name: {listed}")
    return _in_memory(address, "TSV" if delimiter == "\t" else "CSV", names, columns, kept_lines, bad)


def _is_data(names: list[str]) -> bool:
    """Whether a first line is data and no header: it names an image file, or is sentences throughout."""
    return any(map(looks_like_image_path, names)) or all(name.count(" ") >= 3 for name in names)


def _invented_names(cells: list[str]) -> list[str]:
    kinds = ["image" if looks_like_image_path(c) else "caption" if " " in c else "column" for c in cells]
    if sorted(kinds) == ["column", "image"]:
        kinds = [kind.replace("column", "caption") for kind in kinds]
    return [
        kind if kinds.count(kind) == 1 else f"{kind}_{place}" for place, kind in enumerate(kinds, start=1)
    ]


def _from_json(address: str, text: str) -> Table:
    """JSON lines, or one JSON list of objects."""
    name = name_of(address)
    rows: list[dict[str, Any]] = []
    lines: list[int] = []
    items, bad = _json_items(address, text)
    for number, item in items:
        if not isinstance(item, dict):
            bad.append((f"{name}:{number}", f"a JSON object was expected, got {type(item).__name__}"))
        elif not all(map(is_text, item)):
            bad.append(
                (f"{name}:{number}", "wrong encoding: a name in it is no valid text (see data.encoding)")
            )
        else:
            rows.append(item)
            lines.append(number)
    names = list(dict.fromkeys(key for row in rows for key in row))
    table = _in_memory(
        address, "JSON lines", names, [[row.get(key) for row in rows] for key in names], lines, bad
    )
    table.hint = _json_hint(rows[0]) if len(rows) == 1 else ""
    return table


def _json_items(address: str, text: str) -> tuple[list[tuple[int, Any]], list[tuple[str, str]]]:
    """What stands in each line, or in the file's one list or object, and the lines that are no JSON."""
    name, text_begins = name_of(address), text.lstrip()[:1]
    items: list[tuple[int, Any]] = []
    bad: list[tuple[str, str]] = []
    if text_begins == "[":
        try:
            return list(enumerate(json.loads(text), start=1)), []
        except (ValueError, RecursionError) as error:
            raise SourceError(f"{address}: no valid JSON: {error}") from error
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        try:
            items.append((number, json.loads(line)))
        except (ValueError, RecursionError) as error:  # no JSON, a number of 5,000 digits, 5,000 brackets
            if not items and not bad and text_begins == "{":
                with contextlib.suppress(ValueError, RecursionError):
                    return [(number, json.loads(text))], []  # one object, written over many lines
            bad.append((f"{name}:{number}", f"no valid JSON: {error}"))
    return items, bad


def _json_hint(only: dict[str, Any]) -> str:
    """Of a file that is one JSON object: how to write it as rows."""
    for key, value in only.items():
        if isinstance(value, list) and value and isinstance(value[0], dict):
            return f". The rows seem to be the list {key!r} in it: save that list alone as the file"
    if sum(map(looks_like_image_path, only)) > len(only) / 2:
        return (
            ". It seems to be one object of pictures and their captions: save it as one object a row, "
            '{"image": "1.jpg", "caption": "..."}'
        )
    return ""


def _open_parquet(address: str) -> Table:
    import pyarrow as pa
    import pyarrow.parquet as pq

    from likewise.data.images.refs import ParquetImage
    from likewise.data.tables.arrow import binary_columns, cell_list, class_names

    version = f"{(entry := stat_entry(address)).num_bytes}\t{entry.version}"
    try:
        with open_binary(address) as stream:
            file = pq.ParquetFile(stream)
            schema, metadata = file.schema_arrow, file.metadata
    except (pa.ArrowException, OSError) as error:
        raise SourceError(f"{address}: no readable Parquet file: {error}") from error
    groups = [metadata.row_group(index).num_rows for index in range(metadata.num_row_groups)]
    outside = {name for name in binary_columns(schema) if _holds_only_paths(metadata, name)}
    binary = binary_columns(schema) - outside
    file_address = entry.address

    def column(wanted: str) -> list[Any]:
        if wanted not in binary:
            try:
                with open_binary(address) as stream:
                    cells = cell_list(pq.ParquetFile(stream).read(columns=[wanted]).column(0))
            except (pa.ArrowException, OSError) as error:
                raise SourceError(f"{address}: column {wanted} cannot be read: {error}") from error
            return paths_of(cells, wanted)
        rows = ((group, row) for group, count in enumerate(groups) for row in range(count))
        return [ParquetImage(file_address, version, wanted, group, row) for group, row in rows]

    def head(wanted: str) -> list[Any]:
        if wanted in binary or metadata.num_rows == 0:
            return []
        try:
            with open_binary(address) as stream:
                batches = pq.ParquetFile(stream).iter_batches(batch_size=_HEAD_ROWS, columns=[wanted])
                cells = cell_list(next(batches).column(0))
        except (pa.ArrowException, OSError) as error:
            raise SourceError(f"{address}: column {wanted} cannot be read: {error}") from error
        return paths_of(cells, wanted)

    def paths_of(cells: list[Any], wanted: str) -> list[Any]:
        return [cell and cell.get("path") for cell in cells] if wanted in outside else cells

    name = name_of(address)
    return Table(
        name=name,
        folder=folder_of(address),
        kind="Parquet",
        names=list(schema.names),
        num_rows=metadata.num_rows,
        column=column,
        head=head,
        place=lambda row: f"{name} row {row}",
        binary=binary,
        label_names=class_names(schema.metadata),
    )


def _holds_only_paths(metadata: Any, name: str) -> bool:
    """Whether a {bytes, path} column has no bytes at all, as when Hugging Face leaves images in files."""
    groups = [metadata.row_group(index) for index in range(metadata.num_row_groups)]
    chunks = [(group, group.column(index)) for group in groups for index in range(group.num_columns)]
    of_bytes = [(group, chunk) for group, chunk in chunks if chunk.path_in_schema == f"{name}.bytes"]
    return len(of_bytes) > 0 and all(
        chunk.statistics is not None and chunk.statistics.null_count == group.num_rows
        for group, chunk in of_bytes
    )
