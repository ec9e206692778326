"""Two tables with a column in common as one: questions with their images, or with their answers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from typing import Any

from likewise.data.cells import name_in
from likewise.data.tables.table import Table
from likewise.errors import SourceError
from likewise.messages import first_names, flag

__all__ = ["joined_table"]


def joined_table(table: Table, others: Sequence[Table], *, option: str, column: str | None) -> Table:
    """The rows of a table, with the columns that it lacks from the row of the others that has the same key.

    Args:
        table: its rows, in its order; one without such a row is a bad one.
        others: tables of the same columns, read as one.
        option: of `DataConfig`, which names the others, for messages.
        column: the key's name in both; None for the only column in common in which no value of the others
            comes twice.

    Raises:
        SourceError: there is no such column, or several.
    """
    said = f"{flag('data', option)} {', '.join(other.name for other in others)}"
    rows_of = _key(table, others, column, said)
    key = next(iter(rows_of))
    found = [rows_of[key].get(name_in(cell) or "") for cell in table.column(key)]
    kept = [row for row, match in enumerate(found) if match is not None]
    matches = [match for match in found if match is not None]
    new = [name for name in others[0].names if name not in table.names]

    @cache
    def cells(name: str) -> list[Any]:
        if name in table.names:
            own = table.column(name)
            return [own[row] for row in kept]
        theirs = [cell for other in others for cell in other.column(name)]
        return [theirs[match] for match in matches]

    lost = [
        (
            table.place(row),
            f"no row of {flag('data', option)} has its {key}: {name_in(table.column(key)[row])}",
        )
        for row, match in enumerate(found)
        if match is None
    ]
    return replace(
        table,
        names=[*table.names, *new],
        num_rows=len(kept),
        read=lambda name, limit: cells(name)[:limit],
        numbers=[row if table.numbers is None else table.numbers[row] for row in kept],
        lines=None if table.lines is None else [table.lines[row] for row in kept],
        binary=table.binary | (others[0].binary & set(new)),
        bad_rows=table.bad_rows + lost,
        label_names=others[0].label_names | table.label_names,
        folder=others[0].folder if option == "images" else table.folder,
    )


def _key(table: Table, others: Sequence[Table], column: str | None, said: str) -> dict[str, dict[str, int]]:
    """The key's name, with the row of each of its values among the others."""
    for other in others:
        if set(other.names) != set(others[0].names):
            raise SourceError(f"{said}: these tables have different columns; name tables of the same ones")
    shared = [name for name in table.names if name in others[0].names and name not in table.binary]
    if column is not None:
        if column not in shared:
            raise SourceError(
                f"{said}: --data.join-column {column} is not in both; {table.name} has "
                f"{first_names(table.names)}, and the other {first_names(others[0].names)}"
            )
        shared = [column]
    if not shared:
        raise SourceError(
            f"{said}: it has no column in common with {table.name} ({first_names(table.names)}; "
            f"{first_names(others[0].names)}). Give the key the same name in both, such as image_id"
        )
    keys: dict[str, dict[str, int]] = {}
    repeated: dict[str, str | None] = {}
    for name in shared:
        values = [name_in(cell) for other in others for cell in other.column(name)]
        rows = {value: row for row, value in enumerate(values) if value is not None}
        if len(rows) == len(values):
            keys[name] = rows
        else:
            repeated[name] = next(v for row, v in enumerate(values) if v is None or rows[v] != row)
    if len(keys) == 1:
        return keys
    if keys:
        raise SourceError(f"{said}: {first_names(list(keys))} could all be the key; give --data.join-column")
    name, value = next(iter(repeated.items()))
    raise SourceError(
        f"{said}: {value!r} comes twice in its column {name} (or a cell is empty there), so it is no key; "
        "name a table with one row for each"
    )
