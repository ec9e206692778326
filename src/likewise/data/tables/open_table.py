"""Open a table file by its suffix."""

from __future__ import annotations

from likewise.data.files import COMPRESSIONS, folder_of, name_of, read_start, read_whole
from likewise.data.tables.arrow import open_arrow_table
from likewise.data.tables.csv_rows import DELIMITERS, guess_delimiter
from likewise.data.tables.names import is_image_name, looks_like_file
from likewise.data.tables.parquet import open_parquet
from likewise.data.tables.table import Table
from likewise.data.tables.text_tables import delimited_table, json_table
from likewise.data.text_encoding import decoded, split_lines
from likewise.errors import SourceError

__all__ = ["is_delimited", "is_table", "open_table"]

_JSON = (".jsonl", ".ndjson", ".json")
_SUFFIXES = (".csv", ".tsv", ".tab", ".parquet", ".arrow", *_JSON)
_PEEK_BYTES = 4096


def is_table(address: str) -> bool:
    """Whether the name has the suffix of a table."""
    return _without_compression(address).endswith(_SUFFIXES)


def is_delimited(address: str) -> bool:
    """Whether a .txt file is a table: its first line holds an image path or the name of an image column."""
    first = split_lines(read_start(address, _PEEK_BYTES).decode("utf-8", "replace"))[0]
    rows = [first.strip().split(delimiter) for delimiter in DELIMITERS]
    cells = [cell for row in rows if len(row) > 1 for cell in row]
    return any(looks_like_file(cell) or is_image_name(cell) for cell in cells)


def open_table(address: str, *, encoding: str, delimiter: str | None = None) -> Table:
    """Open a table by its suffix.

    Args:
        address: of the file.
        encoding: of a text table.
        delimiter: of a CSV file; guessed if it is None, and a tab in .tsv and .tab.

    Raises:
        SourceError: the table is empty, or damaged as a whole.
    """
    name = _without_compression(address)
    if name.endswith(".parquet"):
        return open_parquet(address)
    if name.endswith(".arrow"):
        return open_arrow_table([address], name=name_of(address), folder=folder_of(address))
    text = decoded(read_whole(address, decompress=True), encoding)
    if not text.strip():
        raise SourceError(f"{address}: the table is empty")
    if name.endswith(_JSON):
        return json_table(address, text)
    if delimiter is None:
        delimiter = "\t" if name.endswith((".tsv", ".tab")) else guess_delimiter(text)
    return delimited_table(address, text, delimiter)


def _without_compression(address: str) -> str:
    name = address.lower()
    return name.rpartition(".")[0] if name.endswith(COMPRESSIONS) else name
