"""A Hugging Face dataset saved to disk, read from its Arrow files."""

from __future__ import annotations

import json
from typing import Any

from likewise.data.config import DataConfig
from likewise.data.files import join, list_tree, name_of, read_whole
from likewise.data.record import Source
from likewise.data.sources.image_folder import named_splits
from likewise.data.sources.tables import source_of_tables
from likewise.data.tables.arrow import open_arrow_table
from likewise.data.tables.table import Table
from likewise.errors import SourceError

__all__ = ["source_of_saved_dataset"]


def source_of_saved_dataset(folder: str, config: DataConfig) -> Source:
    """A Dataset or DatasetDict written by `save_to_disk`; no code of the datasets package is run."""
    names = {name_of(entry.address) for entry in list_tree(folder)[0]}
    tables: list[tuple[Table, str | None, str | None]]
    if "dataset_dict.json" in names:
        parts = _parts(join(folder, "dataset_dict.json"))
        # A single part is all the data, whatever its name.
        split_of = {part: part if named_splits(set(parts), config) else None for part in parts}
        tables = [(_saved(join(folder, part), part), split_of[part], None) for part in parts]
    else:
        split_of = {}
        tables = [(_saved(folder, name_of(folder)), None, None)]
    source = source_of_tables(tables, config, splits_from="parts" if any(split_of.values()) else None)
    source.kind = "Hugging Face dataset on disk"
    return source


def _parts(address: str) -> list[str]:
    """The names of the splits."""
    described = _json(address)
    parts = described.get("splits") if isinstance(described, dict) else None
    if not isinstance(parts, list) or not parts:
        raise SourceError(f"{address}: not what save_to_disk writes: it names no splits")
    return [str(part) for part in parts]


def _saved(folder: str, name: str) -> Table:
    try:
        files = [item["filename"] for item in _json(join(folder, "state.json"))["_data_files"]]
    except (OSError, KeyError, TypeError) as error:
        raise SourceError(f"{folder}: not what save_to_disk writes: {error!r}") from error
    if not files:
        raise SourceError(f"{folder}: not what save_to_disk writes: state.json names no files")
    return open_arrow_table([join(folder, file) for file in files], name=name, folder=folder)


def _json(address: str) -> Any:
    try:
        return json.loads(read_whole(address))
    except (ValueError, RecursionError) as error:
        raise SourceError(f"{address}: no valid JSON: {error}") from error
