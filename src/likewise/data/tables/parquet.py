"""Parquet files."""

from __future__ import annotations

from typing import Any

from likewise.data.files import folder_of, name_of, open_binary, stat_entry
from likewise.data.images.refs import ParquetImage
from likewise.data.tables.arrow_cells import arrow_errors, binary_columns, cell_list, class_names
from likewise.data.tables.table import Table
from likewise.errors import SourceError

__all__ = ["open_parquet"]


def open_parquet(address: str) -> Table:
    """A Parquet file as a table. Raises SourceError."""
    import pyarrow.parquet as pq

    entry = stat_entry(address)
    with arrow_errors(f"{address}: no readable Parquet file"), open_binary(address) as stream:
        file = pq.ParquetFile(stream)
        schema, metadata = file.schema_arrow, file.metadata
        groups = _rows_of_groups(metadata)
        leaves = {metadata.schema.column(index).path for index in range(metadata.num_columns)}
    binary = binary_columns(schema)
    paths = {name for name in binary if f"{name}.bytes" in leaves and _holds_only_paths(address, name)}
    binary -= paths

    def read(wanted: str, limit: int | None) -> list[Any]:
        if wanted in binary:
            rows = ((group, row) for group, count in enumerate(groups) for row in range(count))
            return [ParquetImage(entry.address, entry.state, wanted, group, row) for group, row in rows]
        with arrow_errors(f"{address}: column {wanted} cannot be read"), open_binary(address) as stream:
            file, cells = pq.ParquetFile(stream), []
            for batch in file.iter_batches(batch_size=limit or 65536, columns=[wanted]):
                cells += cell_list(batch.column(0))
                if limit is not None:
                    break
        if limit is None and len(cells) != metadata.num_rows:
            raise SourceError(
                f"{address}: column {wanted} holds {len(cells):,} of {metadata.num_rows:,} rows"
            )
        return [cell and cell.get("path") for cell in cells] if wanted in paths else cells

    return Table(
        name=name_of(address),
        folder=folder_of(address),
        kind="Parquet",
        names=list(schema.names),
        num_rows=metadata.num_rows,
        read=read,
        binary=binary,
        label_names=class_names(schema.metadata),
    )


def _rows_of_groups(metadata: Any) -> list[int]:
    """How many rows each row group has. Raises ValueError if the counts contradict one another.

    Columns are not looked at: pyarrow ends the process where the metadata of one is damaged.
    """
    counts = [metadata.row_group(index).num_rows for index in range(metadata.num_row_groups)]
    if sum(counts) != metadata.num_rows:
        raise ValueError("its counts of rows contradict one another")
    return counts


def _holds_only_paths(address: str, name: str) -> bool:
    """Whether a {bytes, path} column has no bytes at all, as when Hugging Face leaves images in files.

    The values are read, up to the first bytes: pyarrow ends the process where a column's statistics are
    damaged.
    """
    import pyarrow.parquet as pq

    with arrow_errors(f"{address}: column {name} cannot be read"), open_binary(address) as stream:
        file = pq.ParquetFile(stream, buffer_size=1 << 16)
        batches = file.iter_batches(batch_size=64, columns=[f"{name}.bytes"])
        return all(batch.column(0).field("bytes").null_count == len(batch) for batch in batches)
