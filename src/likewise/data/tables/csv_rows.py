"""The rows of a delimited text, by the standard csv module; a stray quotation mark costs one row."""

from __future__ import annotations

import csv
import io
from itertools import islice

from likewise.data.tables.names import is_image_name, looks_like_file
from likewise.data.text_encoding import split_lines

__all__ = ["DELIMITERS", "guess_delimiter", "split_rows"]

DELIMITERS = ",;\t|"
_GUESS_LINES = 50
_SURE_LINES = 10

Rows = list[tuple[int, list[str]]]
"""The fields of each row, after the number of its first line."""


def guess_delimiter(text: str) -> str:
    """The delimiter that splits the first rows into equally many fields; a comma if none does.

    A first row in which a field is an image path or an image column's name counts for a delimiter too:
    captions may hold equally many commas.
    """
    head = "".join(islice(io.StringIO(text, newline=""), _GUESS_LINES))

    def score(delimiter: str) -> tuple[float, int]:
        rows = [row for _, row in split_rows(head, delimiter)[0]]
        if not rows or len(rows[0]) < 2:
            return 0.0, 0
        named = any(looks_like_file(cell) or is_image_name(cell) for cell in rows[0])
        return sum(len(row) == len(rows[0]) for row in rows) / len(rows) + named, len(rows[0])

    return max(DELIMITERS, key=score)


def split_rows(text: str, delimiter: str) -> tuple[Rows, list[tuple[int, str]]]:
    """Split a text into rows; blank lines are left out.

    Returns:
        The rows, and the lines that cannot be read, each with the reason.
    """
    lines = list(io.StringIO(text.replace("\x00", "\ufffd"), newline=""))
    if delimiter == "\t" and len({line.count("\t") for line in lines if line.strip("\r\n")}) == 1:
        # Most tab-separated files quote nothing, and a sentence may begin with a quotation mark. If every
        # line has all its fields, a quotation mark means something only in a pair around a whole field.
        plain = [line.rstrip("\r\n") for line in lines]
        return [(n, [_unquoted(f) for f in p.split("\t")]) for n, p in enumerate(plain, start=1) if p], []
    previous_limit = csv.field_size_limit(1 << 30)  # a caption of a megabyte is one bad record
    try:
        return _quoted_rows(lines, delimiter)
    finally:
        csv.field_size_limit(previous_limit)


def _unquoted(cell: str) -> str:
    if len(cell) >= 2 and cell[0] == cell[-1] == '"' and '"' not in cell[1:-1].replace('""', ""):
        return cell[1:-1].replace('""', '"')
    return cell


def _quoted_rows(lines: list[str], delimiter: str) -> tuple[Rows, list[tuple[int, str]]]:
    """Rows of lines in which quotation marks count. Reading goes on at the line after a bad one."""
    rows: Rows = []
    bad: list[tuple[int, str]] = []
    begin = 0
    while begin < len(lines):
        start, reason = begin, None
        reader = csv.reader((lines[n] for n in range(start, len(lines))), delimiter=delimiter, strict=True)
        try:
            for row in reader:
                end = start + reader.line_num
                if end - begin > 1 and rows and _swallows_rows(row, len(rows[0][1]), delimiter):
                    reason = f"a quoted field runs over {end - begin} lines (a stray quote?)"
                    break
                if row:
                    rows.append((begin + 1, row))
                begin = end
        except csv.Error as error:
            reason = _quote_fault(str(error), start + reader.line_num - begin)
        if reason is not None:
            escaped = _backslash_row(lines[begin], delimiter)
            if escaped is None:
                bad.append((begin + 1, reason))
            else:
                rows.append((begin + 1, escaped))
            begin += 1
    return rows, bad


def _backslash_row(line: str, delimiter: str) -> list[str] | None:
    r"""A line with quotation marks written \" in quoted fields, as Spark does; None if it is none."""
    if '\\"' not in line:
        return None
    try:
        return next(csv.reader([line], delimiter=delimiter, strict=True, escapechar="\\", doublequote=False))
    except csv.Error:
        return None


def _quote_fault(error: str, num_lines: int) -> str:
    if "end of data" in error:
        after = f", {num_lines} lines on" if num_lines > 1 else ""
        return f"a quoted field is still open at the end of the file{after} (a stray quote?)"
    if num_lines > 1:
        return f"a quoted field runs over {num_lines} lines (a stray quote?)"
    return f"a stray quote: {error}"


def _swallows_rows(row: list[str], width: int, delimiter: str) -> bool:
    """Whether at least half of the further lines in a row's fields are rows themselves.

    Such lines have all fields, and an image path where the row has one. Without image paths it takes ten
    such lines, because prose has commas too.
    """
    inner = [line.split(delimiter) for cell in row for line in split_lines(cell)[1:]]
    images = [place for place, cell in enumerate(row) if "\n" not in cell and looks_like_file(cell)]
    whole = sum(len(c) == width > 1 and all(looks_like_file(c[n]) for n in images) for c in inner)
    return whole >= (1 if images else _SURE_LINES) and 2 * whole >= len(inner)
