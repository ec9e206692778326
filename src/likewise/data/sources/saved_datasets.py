"""A Hugging Face dataset saved to disk, read from its Arrow files."""

from __future__ import annotations

import json
from typing import Any

from likewise.data.columns import Needs
from likewise.data.config import DataConfig
from likewise.data.files import is_remote, join, list_tree, name_of, read_whole
from likewise.data.record import Source
from likewise.data.sources.image_folder import named_splits
from likewise.data.sources.path_resolver import PathResolver
from likewise.data.sources.tables import source_of_tables
from likewise.data.tables.arrow import open_arrow_table
from likewise.data.tables.table import Table
from likewise.errors import RecordError, SourceError

__all__ = ["source_of_saved_dataset"]


def source_of_saved_dataset(folder: str, config: DataConfig, needs: Needs | None = None) -> Source:
    """A Dataset or DatasetDict written by `save_to_disk`; no code of the datasets package is run."""
    names = {name_of(entry.address) for entry in list_tree(folder)[0]}
    saved = _SavedFolder(folder, config)
    tables: list[tuple[Table, str | None, str | None]]
    if "dataset_dict.json" in names:
        parts = saved.parts()
        # A single part is all the data, whatever its name.
        split_of = {part: part if named_splits(set(parts), config) else None for part in parts}
        tables = [(saved.table(part, name=part), split_of[part], None) for part in parts]
    else:
        split_of = {}
        tables = [(saved.table("", name=name_of(folder)), None, None)]
    source = source_of_tables(tables, config, needs, splits_from="parts" if any(split_of.values()) else None)
    source.kind = "Hugging Face dataset on disk"
    return source


class _SavedFolder:
    """Reads the files of a folder; links and names that lead outside it are refused."""

    def __init__(self, folder: str, config: DataConfig) -> None:
        self._folder = folder
        self._resolver = None if is_remote(folder) else PathResolver(folder, follow_links=config.follow_links)

    def parts(self) -> list[str]:
        """The names of the splits."""
        described = self._json("dataset_dict.json")
        parts = described.get("splits") if isinstance(described, dict) else None
        if not isinstance(parts, list) or not parts:
            raise self._error("dataset_dict.json", "it names no splits")
        return [str(part) for part in parts]

    def table(self, part: str, *, name: str) -> Table:
        """The table of a split, or of the whole dataset."""
        state = join(part, "state.json") if part else "state.json"
        try:
            files = [str(item["filename"]) for item in self._json(state)["_data_files"]]
        except (KeyError, TypeError) as error:
            raise self._error(state, repr(error)) from error
        if not files:
            raise self._error(state, "it names no files")
        addresses = [self._address(join(part, file) if part else file) for file in files]
        folder = join(self._folder, part) if part else self._folder
        return open_arrow_table(addresses, name=name, folder=folder)

    def _error(self, name: str, reason: str) -> SourceError:
        return SourceError(f"{join(self._folder, name)}: not what save_to_disk writes: {reason}")

    def _address(self, name: str) -> str:
        address = join(self._folder, name)
        try:
            return address if self._resolver is None else self._resolver.resolve(name).address
        except RecordError as error:
            raise SourceError(f"{address}: {error}") from error

    def _json(self, name: str) -> Any:
        try:
            return json.loads(read_whole(self._address(name)))
        except (ValueError, RecursionError) as error:
            raise SourceError(f"{join(self._folder, name)}: no valid JSON: {error}") from error
