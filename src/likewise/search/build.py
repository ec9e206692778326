"""Builds an index and keeps it up to date: embeds what is new, drops what is gone."""

from __future__ import annotations

import os
import shutil
import time
import warnings
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from likewise.data import DataConfig
from likewise.data.record import BadRecord
from likewise.errors import ConfigError, DataError, ModelError
from likewise.messages import first_names
from likewise.search.calibration import RandomTexts, quantiles_of, random_scores
from likewise.search.embedder import Embedder, model_fingerprint
from likewise.search.embedding import Embedded, embed_entries
from likewise.search.generation import (
    Store,
    Taken,
    is_generation_file,
    remove_others,
    switch,
    write_generation,
)
from likewise.search.index import HIDDEN_COLUMNS, Index, open_index
from likewise.search.listing import Entry, What, list_entries
from likewise.search.manifest import MANIFEST, Manifest
from likewise.search.parts import PartHeader, Rows, metadata_columns, open_parts, write_part
from likewise.search.progress import shown_progress
from likewise.search.random_texts import random_texts

__all__ = ["Update", "build_index", "update_index"]

_PENDING = "pending"
_ROWS_A_PART, _SECONDS_A_PART = 4096, 30.0


@dataclass(frozen=True, kw_only=True)
class Update:
    """What an update did.

    Attributes:
        index: the index as it is now.
        added: rows that were embedded.
        kept: rows whose vectors were there already.
        dropped: rows of the former index that are gone.
        bad: entries that were set aside.
        notes: sentences for the user.
    """

    index: Index
    added: int
    kept: int
    dropped: int
    bad: list[BadRecord]
    notes: list[str]


def build_index(
    model: Embedder, source: str | os.PathLike[str] | DataConfig, out: str | os.PathLike[str], **options: Any
) -> Index:
    """`update_index`, and the index alone."""
    return update_index(model, source, out, **options).index


def update_index(
    model: Embedder,
    source: str | os.PathLike[str] | DataConfig,
    out: str | os.PathLike[str],
    *,
    what: What | None = None,
    dtype: str | None = None,
    thumbnail_side: int = 192,
    batch_size: int = 256,
    progress: bool = False,
) -> Update:
    """Build an index, or bring one up to date with its source.

    Entries are new where their file's size or time of change is (of texts and generated images: their
    content). Killed at any instant, the former index stays valid, and the next call goes on.

    Args:
        model: embeds images or texts.
        source: a folder, table, ...: anything that `likewise data` reads.
        out: the folder of the index.
        what: "images" or "texts"; images of a model that reads them when None.
        dtype: "float32" or "float16", of the vectors on the disk; that of the index there, or float32, when
            None.
        thumbnail_side: the longer side of thumbnails in pixels; 0 for none.
        batch_size: entries a forward pass.
        progress: show a progress bar.

    Raises:
        AbilityError: the model cannot embed such things.
        ConfigError: another process updates the index, or `out` holds something else.
        ModelError: the index there is of another model.
        SourceError: the source cannot be understood.
        WriteError: a full disk; the former index is as it was.
    """
    folder = Path(out)
    what = what or ("images" if "encode_images" in model.abilities else "texts")
    model.needs(f"encode_{what}")
    config = source if isinstance(source, DataConfig) else DataConfig(source=os.fspath(source))
    header = PartHeader(
        fingerprint=model_fingerprint(model),
        dimension=model.dim,
        what=what,
        thumbnail_side=thumbnail_side if what == "images" else 0,
    )
    with _locked(folder):
        old = _existing(folder, header)
        listing = list_entries(config, what)
        stores: list[Store] = [] if old is None else [_Generation(old)]
        pending = folder / _PENDING
        known = {key for store in [*stores, *open_parts(pending, header)] for key in store.keys()}  # noqa: SIM118
        missing = [entry for entry in listing.entries if entry.key not in known]
        bad: list[BadRecord] = []
        batches = embed_entries(
            model, listing, missing, thumbnail_side=header.thumbnail_side, batch_size=batch_size, bad=bad
        )
        _write_pending(pending, shown_progress(batches, len(missing), progress), header)
        entries, taken = _gathered(listing.entries, [*stores, *open_parts(pending, header)])
        if not entries:
            reasons = first_names([f"{one.place}: {one.reason}" for one in [*listing.bad, *bad]], most=3)
            raise DataError(f"{config.source}: no {what} in it can be used: {reasons}")
        manifest = Manifest(
            generation=1 if old is None else old.manifest.generation + 1,
            what=what,
            count=len(entries),
            dimension=model.dim,
            dtype=dtype or ("float32" if old is None else old.manifest.dtype),
            model=_described(model, header.fingerprint),
            source=config.source,
        )
        if old is None or _has_changed(old, manifest, entries):
            texts = random_texts(model, entries)
            write_generation(folder, manifest, entries, taken, texts)
            switch(folder, _calibrated(folder, manifest, texts))
        else:
            remove_others(folder, old.manifest)
        shutil.rmtree(pending, ignore_errors=True)
    there = {entry.key for entry in entries}
    return Update(
        index=open_index(folder),
        added=sum(entry.key in there for entry in missing),
        kept=sum(entry.key in known for entry in entries),
        dropped=0 if old is None else sum(key not in there for key in _Generation(old).keys()),  # noqa: SIM118
        bad=[*listing.bad, *bad],
        notes=listing.notes,
    )


class _Generation:
    """The rows of an index as a store."""

    def __init__(self, index: Index) -> None:
        self._index = index

    def keys(self) -> list[str]:
        """See Store."""
        keys: list[str] = self._index.table["key"].to_pylist()
        return keys

    def read(self, rows: NDArray[np.int64]) -> Rows:
        """See Store."""
        contents = self._index.table["content"].take(rows).to_numpy()
        thumbnails = [self._index.thumbnail(row) or b"" for row in rows.tolist()]
        return Rows(np.asarray(self._index.vectors[rows], np.float32), contents, thumbnails)


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Keep other updates out; the system drops the lock when its process ends in any way.

    Raises:
        ConfigError: another process updates the index, or nothing can be written there.
    """
    from filelock import FileLock, Timeout

    lock = FileLock(folder / ".lock")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock.acquire(timeout=0)
    except Timeout:
        raise ConfigError(
            f"another process is updating {folder}; wait for it to end, or name another --out."
        ) from None
    except NotImplementedError:
        warnings.warn(
            f"the file system of {folder} has no locks: nothing keeps two updates apart", stacklevel=4
        )
    except OSError as error:
        reason = "it is a file" if folder.is_file() else error.strerror or error
        raise ConfigError(f"{folder} cannot hold an index ({reason}); name another --out.") from error
    try:
        yield
    finally:
        lock.release()


def _existing(folder: Path, header: PartHeader) -> Index | None:
    """The index that is there; None where there is none yet.

    Raises:
        ConfigError: something else is there.
        ModelError: it is of another model.
    """
    if not (folder / MANIFEST).exists():
        if others := sorted(path.name for path in folder.iterdir() if not _is_ours(path)):
            raise ConfigError(
                f"{folder} is a folder with other files ({first_names(others, most=3)}); name another --out."
            )
        return None
    index = open_index(folder)
    if index.fingerprint != header.fingerprint:
        raise ModelError(
            f"{folder} was built by another model ({index.manifest.model['method']}, fingerprint "
            f"{index.fingerprint[:8]}): name another --out, or remove it."
        )
    if index.manifest.what != header.what:
        raise ConfigError(f"{folder} is an index of {index.manifest.what}; name another --out.")
    return index


def _is_ours(path: Path) -> bool:
    return path.name in (".lock", _PENDING) or is_generation_file(path)


def _write_pending(folder: Path, batches: Iterable[Embedded], header: PartHeader) -> None:
    """Write what is embedded every few seconds, so that a kill loses no more than that."""
    gathered: list[Embedded] = []
    since = time.monotonic()

    def write() -> None:
        if gathered:
            write_part(folder / f"{time.time_ns()}.parquet", gathered, header)
            gathered.clear()

    for batch in batches:
        gathered.append(batch)
        num_rows = sum(len(each.entries) for each in gathered)
        if num_rows >= _ROWS_A_PART or time.monotonic() - since > _SECONDS_A_PART:
            write()
            since = time.monotonic()
    write()


def _gathered(listed: Sequence[Entry], stores: Sequence[Store]) -> tuple[list[Entry], list[Taken]]:
    """The entries whose vector is in some store, and where."""
    found: dict[str, tuple[int, int]] = {}
    for number, store in enumerate(stores):
        for row, key in enumerate(store.keys()):
            found.setdefault(key, (number, row))
    entries = [entry for entry in listed if entry.key in found]
    where = np.array([found[entry.key] for entry in entries], np.int64).reshape(-1, 2)
    taken = []
    for number, store in enumerate(stores):
        places = np.flatnonzero(where[:, 0] == number)
        places = places[np.argsort(where[places, 1], kind="stable")]
        if len(places):
            taken.append(Taken(store, where[places, 1], places))
    return entries, taken


def _has_changed(old: Index, manifest: Manifest, entries: Sequence[Entry]) -> bool:
    """Whether the new generation would differ from the old one."""
    import pyarrow as pa

    table = pa.table(metadata_columns(entries))
    kept = [name for name in old.table.column_names if name in table.column_names]
    return (
        (old.manifest.dtype, old.size) != (manifest.dtype, manifest.count)
        or set(kept) != set(table.column_names)
        or len(old.table.column_names) != len(kept) + len(HIDDEN_COLUMNS) - 1  # the key is in both
        or not old.table.select(kept).equals(table.select(kept))
    )


def _calibrated(folder: Path, manifest: Manifest, texts: RandomTexts) -> Manifest:
    """The manifest with the scores of random pairs."""
    vectors = np.load(manifest.file(folder, "vectors.npy"), mmap_mode="r")
    kinds = ["image"] if manifest.what == "images" else []
    kinds += ["text"] if len(texts.vectors) else []
    found = {kind: quantiles_of(random_scores(texts, vectors, (kind,), (1.0,))) for kind in kinds}
    return replace(manifest, calibration=found)


def _described(model: Embedder, fingerprint: str) -> dict[str, Any]:
    """What `index.json` says of the model."""
    return {"fingerprint": fingerprint, "method": model.config["method"], "abilities": model.abilities}
