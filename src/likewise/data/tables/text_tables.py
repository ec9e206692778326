"""Tables in text files: CSV and TSV, JSON lines and JSON lists."""

from __future__ import annotations

import contextlib
import json
from typing import Any

from likewise.data.files import folder_of, name_of
from likewise.data.published.json_forms import published_rows
from likewise.data.tables.csv_rows import split_rows
from likewise.data.tables.names import looks_like_audio_path, looks_like_file, looks_like_image_path
from likewise.data.tables.table import Table
from likewise.data.text_encoding import is_text, split_lines
from likewise.errors import SourceError
from likewise.messages import first_names

__all__ = ["delimited_table", "json_table", "table_of_rows"]


def delimited_table(address: str, text: str, delimiter: str) -> Table:
    """A CSV or TSV text as a table. Columns get names if the first line is data and not a header.

    Raises:
        SourceError: the header cannot be read, or names two columns alike.
    """
    all_valid = is_text(text)
    rows, bad_lines = split_rows(text, delimiter)
    if bad_lines and (not rows or bad_lines[0][0] < rows[0][0]):
        number, reason = bad_lines[0]
        raise SourceError(f"{address}: line {number}, the header: {reason}. Correct its quotation marks")
    names = [name.strip() for name in rows[0][1]] if rows else []
    if _is_data(names):
        names = _invented_names(names)
    else:
        _check_header(address, text.split("\n", 1)[0], names)
        del rows[0:1]
    good = []
    for line, row in rows:
        if len(row) != len(names):
            bad_lines.append((line, f"{len(row)} fields where the header has {len(names)}"))
        elif not all_valid and not all(map(is_text, row)):
            bad_lines.append((line, "wrong encoding: these bytes are no valid text (see --data.encoding)"))
        else:
            good.append((line, row))
    columns: list[list[Any]] = [list(column) for column in zip(*(row for _, row in good), strict=True)]
    columns = columns or [[] for _ in names]
    # Spreadsheets also write columns that have neither a name nor a value.
    used = [place for place, name in enumerate(names) if name or any(map(str.strip, columns[place]))]
    names, columns = [names[place] for place in used], [columns[place] for place in used]
    if len(set(names)) < len(names):
        listed = first_names([name or "(no name)" for name in names])
        raise SourceError(f"{address}: two columns have the same name: {listed}")
    kind = "TSV" if delimiter == "\t" else "CSV"
    return _in_memory(address, kind, dict(zip(names, columns, strict=True)), [n for n, _ in good], bad_lines)


def json_table(address: str, text: str) -> Table:
    """JSON lines, one JSON list of objects, or a published form, as a table. Raises SourceError."""
    items, bad = _json_items(address, text)
    published = published_rows(items)
    if published is not None:
        return table_of_rows(address, published.name, published.rows, bad + published.bad)
    rows: list[tuple[int, dict[str, Any]]] = []
    for line, item in items:
        if not isinstance(item, dict):
            bad.append((line, f"a JSON object was expected, got {type(item).__name__}"))
        elif not all(map(is_text, item)):
            bad.append((line, "wrong encoding: a name in it is no valid text (see --data.encoding)"))
        else:
            rows.append((line, item))
    table = table_of_rows(address, "JSON lines", rows, bad)
    table.hint = _json_hint(rows[0][1]) if len(rows) == 1 else ""
    return table


def table_of_rows(
    address: str,
    kind: str,
    rows: list[tuple[int, dict[str, Any]]],
    bad: list[tuple[int, str]],
    *,
    folder: str | None = None,
) -> Table:
    """Rows in memory as a table.

    Args:
        address: of the file.
        kind: of the file.
        rows: each with its line; their columns may differ.
        bad: line and reason of each that cannot be used.
        folder: where relative image paths start; the file's when None.
    """
    names = dict.fromkeys(key for _, row in rows for key in row)
    columns = {name: [row.get(name) for _, row in rows] for name in names}
    return _in_memory(address, kind, columns, [line for line, _ in rows], bad, folder=folder)


def _in_memory(
    address: str,
    kind: str,
    columns: dict[str, list[Any]],
    lines: list[int],
    bad: list[tuple[int, str]],
    *,
    folder: str | None = None,
) -> Table:
    return Table(
        name=name_of(address),
        folder=folder_of(address) if folder is None else folder,
        kind=kind,
        names=list(columns),
        num_rows=len(lines),
        read=lambda wanted, limit: columns[wanted][:limit],
        lines=lines,
        bad_rows=[(f"{name_of(address)}:{line}", reason) for line, reason in sorted(bad)],
    )


def _check_header(address: str, first_line: str, names: list[str]) -> None:
    if all(map(is_text, names)):
        return
    if "\0" in first_line:
        raise SourceError(f"{address}: not a table: its first line holds zero bytes")
    raise SourceError(
        f"{address}: the first line is no valid text in this encoding; name the file's own, such as "
        "--data.encoding gb18030"
    )


def _is_data(names: list[str]) -> bool:
    """Whether a first line is data and not a header: it names a file, or holds only sentences."""
    return any(map(looks_like_file, names)) or all(name.count(" ") >= 3 for name in names)


def _invented_names(cells: list[str]) -> list[str]:
    kinds = ["image" if looks_like_image_path(c) else "caption" if " " in c else "column" for c in cells]
    kinds = ["audio" if looks_like_audio_path(c) else kind for c, kind in zip(cells, kinds, strict=True)]
    if sorted(kinds) in (["column", "image"], ["audio", "column"]):
        kinds = [kind.replace("column", "caption") for kind in kinds]
    return [
        kind if kinds.count(kind) == 1 else f"{kind}_{place}" for place, kind in enumerate(kinds, start=1)
    ]


def _json_items(address: str, text: str) -> tuple[list[tuple[int, Any]], list[tuple[int, str]]]:
    """The values by line (or by position in the file's one list), and the lines that are no JSON."""
    items: list[tuple[int, Any]] = []
    bad: list[tuple[int, str]] = []
    begins = text.lstrip()[:1]
    if begins == "[":
        try:
            return list(enumerate(json.loads(text), start=1)), []
        except (ValueError, RecursionError) as error:
            raise SourceError(f"{address}: no valid JSON: {error}") from error
    for number, line in enumerate(split_lines(text), start=1):
        if not line.strip():
            continue
        try:
            items.append((number, json.loads(line)))
        except (ValueError, RecursionError) as error:  # no JSON, a number of 5,000 digits, 5,000 brackets
            if not items and not bad and begins == "{":
                with contextlib.suppress(ValueError, RecursionError):
                    return [(number, json.loads(text))], []  # one object over many lines
            bad.append((number, f"no valid JSON: {error}"))
    return items, bad


def _json_hint(only: dict[str, Any]) -> str:
    """How to rewrite a file that is one JSON object as rows."""
    for key, value in only.items():
        if isinstance(value, list) and value and isinstance(value[0], dict):
            return f". The rows seem to be the list {key[:80]!r} in it: save that list alone as the file"
    if sum(map(looks_like_image_path, only)) > len(only) / 2:
        return (
            ". It seems to be one object of images and their captions: save it as one object a row, "
            '{"image": "1.jpg", "caption": "..."}'
        )
    return ""
