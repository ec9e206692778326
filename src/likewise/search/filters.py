"""Which rows of an index's table a search may find."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from likewise.errors import ConfigError, DataError
from likewise.messages import first_line

__all__ = ["rows_matching", "rows_where"]


def rows_matching(table: Any, wanted: Sequence[tuple[str, str]]) -> NDArray[np.int64]:
    """Numbers of the rows whose columns have these values, compared as texts; of a list one is enough."""
    keep = np.ones(table.num_rows, bool)
    for name, value in wanted:
        keep &= _equal(table[name], value)
    return np.flatnonzero(keep)


def _equal(column: Any, value: str) -> NDArray[np.bool_]:
    """(N,) whether a cell, or one of its list, reads like this value."""
    import pyarrow as pa
    import pyarrow.compute as pc

    if pa.types.is_string(column.type):
        return np.asarray(pc.fill_null(pc.equal(column, value), False), bool)
    cells = column.to_pylist()
    return np.fromiter((_is(cell, value) for cell in cells), bool, len(cells))


def _is(cell: Any, value: str) -> bool:
    if isinstance(cell, list):
        return any(_is(one, value) for one in cell)
    return cell is not None and str(cell) == value


def rows_where(table: Any, condition: str) -> NDArray[np.int64]:
    """Numbers of the rows that meet an SQL condition; it can reach nothing but the table.

    Raises:
        ConfigError: DuckDB is not installed.
        DataError: the condition cannot be understood.
    """
    try:
        import duckdb
    except ImportError:
        raise ConfigError(
            "a condition in SQL needs DuckDB: pip install 'likewise[index]'; a plain --filter COLUMN=VALUE "
            "works without."
        ) from None
    if not condition.strip():
        raise DataError("the condition is empty; expected one such as \"label = 'dog'\".")
    numbered = table.append_column("row_number", [np.arange(table.num_rows)])
    with duckdb.connect(":memory:", config={"threads": "1"}) as connection:
        connection.register("rows", numbered)
        # The condition may come from a stranger: no files, no network, no settings.
        connection.execute("SET enable_external_access = false; SET lock_configuration = true")
        try:
            found = connection.execute(
                f"SELECT row_number FROM rows WHERE ({condition}\n) ORDER BY row_number"
            ).fetchnumpy()["row_number"]
        except duckdb.Error as error:
            columns = ", ".join(table.column_names)
            raise DataError(f"--where {condition}: {first_line(error)} (columns: {columns})") from None
    return np.asarray(found, np.int64)
