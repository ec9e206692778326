"""The rows of a delimited text, with what a stray quotation mark would swallow given back."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator

from likewise.data.tables.names import looks_like_image_path

__all__ = ["split_rows"]

_SURE_LINES = 10


def split_rows(text: str, delimiter: str) -> tuple[list[list[str]], list[int], list[tuple[int, str]]]:
    """Rows, the line each begins at, and the lines that cannot be read with the reason.

    Blank lines are left out.
    """
    if delimiter == "\t":
        plain = text.splitlines() if "\r" in text and "\n" not in text else text.split("\n")
        plain = [line.rstrip("\r") for line in plain]
        width = plain[0].count("\t")
        # Most tab-separated files quote nothing, and a sentence may begin with a quotation mark. If every
        # line has its full number of fields, quotes have no meaning beyond a pair around a whole field.
        if all(line.count("\t") == width for line in plain if line):
            numbered = [(number, line) for number, line in enumerate(plain, start=1) if line]
            return (
                [[_unquoted(f) for f in line.split("\t")] for _, line in numbered],
                [n for n, _ in numbered],
                [],
            )
    lines = list(io.StringIO(text.replace("\x00", "\ufffd"), newline=""))
    previous_limit = csv.field_size_limit(1 << 30)  # a caption of a megabyte is one bad record, not the end
    try:
        return _quoted_rows(lines, delimiter)
    finally:
        csv.field_size_limit(previous_limit)


def _unquoted(cell: str) -> str:
    if len(cell) >= 2 and cell[0] == cell[-1] == '"' and '"' not in cell[1:-1].replace('""', ""):
        return cell[1:-1].replace('""', '"')
    return cell


def _quoted_rows(
    lines: list[str], delimiter: str
) -> tuple[list[list[str]], list[int], list[tuple[int, str]]]:
    """Rows of lines in which quotes count; after a stray one, reading goes on at the very next line."""
    rows: list[list[str]] = []
    numbers: list[int] = []
    bad: list[tuple[int, str]] = []
    begin = 0
    while begin < len(lines):
        for row, end, fault in _rows_from(lines, begin, delimiter):
            reason = None
            if fault is not None or end - begin > 1:
                reason = _stray_quote(row, lines[begin:end], fault, len(rows[0]) if rows else None, delimiter)
            if reason is not None:
                bad.append((begin + 1, reason))
                begin += 1
                break
            if row:
                rows.append(row)
                numbers.append(begin + 1)
            begin = end
    return rows, numbers, bad


def _rows_from(lines: list[str], begin: int, delimiter: str) -> Iterator[tuple[list[str], int, str | None]]:
    """Each row, the line after it, and what is wrong with its quotes; the first such row is the last."""
    end = begin
    strict = csv.reader((lines[n] for n in range(begin, len(lines))), delimiter=delimiter, strict=True)
    try:
        for row in strict:
            end = begin + strict.line_num
            yield row, end, None
    except csv.Error as error:
        lenient = csv.reader((lines[n] for n in range(end, len(lines))), delimiter=delimiter)
        row = next(lenient)
        yield row, end + lenient.line_num, str(error)


def _stray_quote(
    row: list[str], lines: list[str], fault: str | None, width: int | None, delimiter: str
) -> str | None:
    """Why a row that spans these lines is none, or None if it is one.

    Args:
        row: as it was read.
        lines: that it spans.
        fault: what Python's strict reader says of its quotes.
        width: the number of fields of the first row; None if this is the first one.
        delimiter: between fields.
    """
    if fault is not None and "end of data" in fault:
        after = f", {len(lines)} lines on" if len(lines) > 1 else ""
        return f"a quoted field is still open at the end of the file{after} (a stray quote?)"
    if len(lines) == 1 or (width is None and fault is None):
        return None
    # Where all quotes are well placed, the last line may be the end of a caption and then an image's name, so
    # only what is within the field is looked at.
    inner = lines[1:] if fault is not None else [line for cell in row for line in _lines_of(cell)[1:]]
    if not any(delimiter in line for line in inner):
        return None
    images = [place for place, cell in enumerate(row) if _names_image(cell)]
    whole = sum(_is_whole(line, width or len(row), images, delimiter) for line in inner)
    # Of well-placed quotes and no images, the number of fields is the only sign, and prose has commas too.
    sure = fault is not None or len(images) > 0 or whole >= _SURE_LINES
    if sure and 2 * whole >= len(inner) > 0:
        return f"a quoted field runs over {len(lines)} lines (a stray quote?)"
    return None


def _lines_of(cell: str) -> list[str]:
    return cell.replace("\r\n", "\n").replace("\r", "\n").split("\n")


def _names_image(cell: str) -> bool:
    return len(_lines_of(cell)) == 1 and looks_like_image_path(cell)


def _is_whole(line: str, width: int, images: list[int], delimiter: str) -> bool:
    """Whether a line alone has that many fields, more than one, and names images at these places."""
    line = line.rstrip("\r\n")
    for cells in (next(csv.reader([line], delimiter=delimiter), []), line.split(delimiter)):
        if len(cells) == width > 1 and all(_names_image(cells[n].strip('"')) for n in images if n < width):
            return True
    return False
