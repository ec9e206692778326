"""Writes a generation of an index: the files first, then the switch to them.

A kill leaves either the old generation or the new one in `index.json`; what is left of others is removed by
the next update.
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from likewise.atomic_files import failure_to_write
from likewise.data.images.cache_build import allocate
from likewise.search.calibration import RandomTexts
from likewise.search.manifest import MANIFEST, Manifest, write_manifest
from likewise.search.rows.listing import Entry
from likewise.search.rows.parts import metadata_columns
from likewise.search.stores import Taken

__all__ = ["is_generation_file", "remove_others", "switch", "write_generation"]

_BLOCK = 4096
_FILES = re.compile(r"(vectors|texts|thumbnails|table|approximate)-(\d+)\.\w+")


def write_generation(
    folder: Path, manifest: Manifest, entries: Sequence[Entry], taken: Sequence[Taken], texts: RandomTexts
) -> None:
    """Write the files of a generation; `index.json` stays as it is.

    Args:
        folder: of the index.
        manifest: of the new generation.
        entries: its N rows.
        taken: where each row's vector comes from; together all rows.
        texts: to draw random queries from.

    Raises:
        WriteError: a full disk; the files of this generation are removed.
    """
    try:
        _write(folder, manifest, entries, taken, texts)
    except BaseException as error:
        for path in _files_of(folder, manifest.generation):
            path.unlink(missing_ok=True)
        if isinstance(error, OSError):
            raise failure_to_write(folder, error) from error
        raise


def _write(
    folder: Path, manifest: Manifest, entries: Sequence[Entry], taken: Sequence[Taken], texts: RandomTexts
) -> None:
    count = len(entries)
    contents, starts, sizes = np.zeros(count, np.uint64), np.zeros(count, np.int64), np.zeros(count, np.int64)
    path = manifest.file(folder, "vectors.npy")
    shape = (count, manifest.dimension)
    np.lib.format.open_memmap(path, mode="w+", dtype=manifest.dtype, shape=shape)
    allocate(path)
    vectors = np.lib.format.open_memmap(path, mode="r+")
    with manifest.file(folder, "thumbnails.bin").open("wb") as thumbnails:
        for store, rows, places in taken:
            for start in range(0, len(rows), _BLOCK):
                block, here = store.read(rows[start : start + _BLOCK]), places[start : start + _BLOCK]
                vectors[here], contents[here] = block.vectors, block.contents
                sizes[here] = [len(one) for one in block.thumbnails]
                starts[here] = thumbnails.tell() + np.cumsum(sizes[here]) - sizes[here]
                thumbnails.writelines(block.thumbnails)
        _sync(thumbnails)
    vectors.flush()
    del vectors
    with manifest.file(folder, "texts.npz").open("wb") as file:
        np.savez(file, **texts._asdict())
        _sync(file)
    _write_table(manifest.file(folder, "table.parquet"), entries, contents, starts, sizes)


def _write_table(
    path: Path,
    entries: Sequence[Entry],
    contents: NDArray[np.uint64],
    starts: NDArray[np.int64],
    sizes: NDArray[np.int64],
) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    columns: dict[str, Any] = metadata_columns(entries)
    columns |= {
        "content": pa.array(contents),
        "thumbnail_start": pa.array(starts),
        "thumbnail_bytes": pa.array(sizes),
    }
    with path.open("wb") as file:
        pq.write_table(pa.table(columns), file)
        _sync(file)


def _sync(file: BinaryIO) -> None:
    file.flush()
    os.fsync(file.fileno())


def is_generation_file(path: Path) -> bool:
    """Whether a file is named as one of a generation."""
    return _FILES.fullmatch(path.name) is not None


def _files_of(folder: Path, generation: int) -> list[Path]:
    found = [(path, _FILES.fullmatch(path.name)) for path in folder.iterdir()]
    return [path for path, name in found if name is not None and int(name[2]) == generation]


def remove_others(folder: Path, manifest: Manifest) -> None:
    """Remove the files of every generation but this one, and what a kill left of a file."""
    for path in folder.iterdir():
        name = _FILES.fullmatch(path.name)
        is_other = name is not None and int(name[2]) != manifest.generation
        if is_other or path.name.startswith(f".{MANIFEST}."):
            path.unlink(missing_ok=True)


def switch(folder: Path, manifest: Manifest) -> None:
    """Make a written generation the one that is opened, and remove the others."""
    write_manifest(folder, manifest)
    remove_others(folder, manifest)
