"""Arrow files, as Hugging Face datasets and Polars write them."""

from __future__ import annotations

import json
import os
from typing import Any

from likewise.data.files import read_whole, stat_entry
from likewise.data.images.refs import ArrowImage
from likewise.data.tables.arrow_cells import (
    arrow_errors,
    binary_columns,
    cell_list,
    class_names,
    declared_names,
    open_arrow,
)
from likewise.data.tables.table import Table
from likewise.errors import SourceError

__all__ = ["open_arrow_table"]


def open_arrow_table(addresses: list[str], *, name: str, folder: str) -> Table:
    """Consecutive Arrow files as one table. Raises SourceError."""
    pieces = [open_arrow(address) for address in addresses]
    entries = [stat_entry(address) for address in addresses]
    schema = pieces[0].schema
    binary = binary_columns(schema)

    def read(wanted: str, limit: int | None) -> list[Any]:
        if wanted in binary:
            return [
                ArrowImage(entry.address, entry.state, wanted, row)
                for entry, piece in zip(entries, pieces, strict=True)
                for row in range(piece.num_rows)
            ]
        with arrow_errors(f"{addresses[0]}: column {wanted} cannot be read"):
            if limit is not None:
                return cell_list(pieces[0].column(wanted).slice(0, limit))
            return [value for piece in pieces for value in cell_list(piece.column(wanted))]

    return Table(
        name=name,
        folder=folder,
        kind="Arrow",
        names=list(schema.names),
        num_rows=sum(piece.num_rows for piece in pieces),
        read=read,
        binary=binary,
        label_names=class_names(schema.metadata) or _names_beside(folder),
    )


def _names_beside(folder: str) -> dict[str, list[str]]:
    """Class names from the description that `save_to_disk` writes beside the files."""
    info = os.path.join(folder, "dataset_info.json")
    if not os.path.exists(info):
        return {}
    try:
        return declared_names(json.loads(read_whole(info)))
    except (ValueError, RecursionError) as error:
        raise SourceError(f"{info}: not what save_to_disk writes: {error}") from error
