"""Arrow files, as Hugging Face datasets and Polars write them."""

from __future__ import annotations

import json
import os
from typing import Any

from likewise.data.files import stat_entry
from likewise.data.images.refs import ArrowImage
from likewise.data.tables.arrow_cells import (
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
    if not os.path.isfile(info):
        return {}
    try:
        with open(info, encoding="utf-8") as stream:
            return declared_names(json.load(stream).get("features") or {})
    except (ValueError, AttributeError) as error:
        raise SourceError(f"{info}: not what save_to_disk writes: {error}") from error
