"""A table as the rest of this package sees it, whatever file it came from."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

__all__ = ["Table"]

_HEAD_ROWS = 50


@dataclass(kw_only=True)
class Table:
    """Columns of equal length, read on demand.

    Attributes:
        name: the file's name, used in places ("captions.csv").
        folder: where relative image paths start.
        kind: "CSV", "TSV", "JSON lines", "Parquet", "Arrow".
        names: the columns.
        num_rows: how many rows were read.
        read: reads the first rows of a column, or all of them for None; a binary column as ImageRefs.
        lines: the line of each row in a text file.
        numbers: the number of each row in another file; 0, 1, ... where None.
        binary: columns of encoded images (bytes, or Hugging Face's {bytes, path}).
        bad_rows: place and reason of each row that could not be read.
        label_names: class names of integer labels, where the file declares them.
        hint: ends the error message when the columns are not recognized: what the file may be instead.
    """

    name: str
    folder: str
    kind: str
    names: list[str]
    num_rows: int
    read: Callable[[str, int | None], list[Any]]
    lines: Sequence[int] | None = None
    numbers: Sequence[int] | None = None
    binary: frozenset[str] = frozenset()
    bad_rows: list[tuple[str, str]] = field(default_factory=list)
    label_names: dict[str, list[str]] = field(default_factory=dict)
    hint: str = ""

    def column(self, name: str) -> list[Any]:
        """All cells of a column."""
        return self.read(name, None)

    def head(self, name: str) -> list[Any]:
        """The first cells of a column; none of a binary one."""
        return [] if name in self.binary else self.read(name, _HEAD_ROWS)

    def place(self, row: int) -> str:
        """Where the user finds a row."""
        if self.lines is not None:
            return f"{self.name}:{self.lines[row]}"
        return f"{self.name} row {row if self.numbers is None else self.numbers[row]}"
