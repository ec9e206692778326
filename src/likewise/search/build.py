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

from likewise.data import DataConfig
from likewise.data.record import BadRecord
from likewise.errors import ConfigError, DataError, ModelError
from likewise.messages import first_names
from likewise.search.approximate import Choice, build_approximate, is_wanted
from likewise.search.calibration import RandomTexts, quantiles_of, random_scores
from likewise.search.embedder import Embedder, model_fingerprint
from likewise.search.generation import is_generation_file, remove_others, switch, write_generation
from likewise.search.index import HIDDEN_COLUMNS, Index, open_index
from likewise.search.manifest import MANIFEST, NOUNS, Manifest
from likewise.search.random_texts import random_texts
from likewise.search.rows.embedding import Embedded, embed_entries
from likewise.search.rows.listing import Entry, What, list_entries
from likewise.search.rows.part_folder import is_parts, list_parts, open_parts
from likewise.search.rows.parts import PartHeader, metadata_columns, usable_parts, write_part
from likewise.search.rows.progress import shown_progress
from likewise.search.stores import GenerationStore, Store, gathered, keys_of

__all__ = ["IndexOptions", "Update", "build_index", "update_index"]

_PENDING = "pending"
_THUMBNAIL_SIDE = 192
_ROWS_A_PART, _SECONDS_A_PART = 4096, 30.0


@dataclass(frozen=True, kw_only=True)
class IndexOptions:
    """How an index is built.

    Attributes:
        what: "images", "audio" or "texts"; when None images or sounds, of a model that reads them.
        dtype: "float32" or "float16", of the vectors on the disk; that of the index there, or float32, when
            None.
        thumbnail_side: the longer side of thumbnails in pixels; 0 for none; that of the index there, or 192,
            when None. Another one embeds everything again.
        batch_size: entries a forward pass.
        approximate: "auto": an approximate index above 300,000 rows; "always" or "never".
        least_recall: recall@10 that the approximate index must reach.
    """

    what: What | None = None
    dtype: str | None = None
    thumbnail_side: int | None = None
    batch_size: int = 256
    approximate: Choice = "auto"
    least_recall: float = 0.95

    def __post_init__(self) -> None:
        if self.dtype not in (None, "float32", "float16"):
            raise ValueError(f"dtype must be 'float32' or 'float16', got {self.dtype!r}")


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
    """`update_index` with the fields of `IndexOptions` as options; returns the index alone."""
    return update_index(model, source, out, IndexOptions(**options)).index


def update_index(
    model: Embedder,
    source: str | os.PathLike[str] | DataConfig,
    out: str | os.PathLike[str],
    options: IndexOptions | None = None,
    *,
    progress: bool = False,
    model_path: str | None = None,
) -> Update:
    """Build an index, or bring one up to date with its source.

    Entries are new where their file's size or time of change is (of texts and generated images: their
    content). Killed at any instant, the former index stays valid, and the next call goes on.

    Args:
        model: embeds images or texts.
        source: a folder, table, ...: anything that `likewise data` reads; or a folder of parts that
            `likewise embed` wrote.
        out: the folder of the index.
        options: how it is built.
        progress: show a progress bar.
        model_path: where the model can be loaded from, for searches that name none.

    Raises:
        AbilityError: the model cannot embed such things.
        ConfigError: another process updates the index, or `out` holds something else.
        ModelError: the index there is of another model.
        SourceError: the source cannot be understood.
        WriteError: a full disk; the former index is as it was.
    """
    folder, options = Path(out), options or IndexOptions()
    what = options.what or _usual(model)
    model.needs(f"encode_{what}")
    config = source if isinstance(source, DataConfig) else DataConfig(source=os.fspath(source))
    with _locked(folder):
        fingerprint = model_fingerprint(model)
        old = _existing(folder, fingerprint, what)
        manifest = _manifest(model, fingerprint, what, config, options, old, model_path)
        header = PartHeader(
            fingerprint=fingerprint, dimension=model.dim, what=what, thumbnail_side=manifest.thumbnail_side
        )
        given = open_parts(config.source, header) if is_parts(config.source) else []
        listing = list_parts(given) if given else list_entries(config, what)
        reused = old is not None and old.manifest.thumbnail_side == manifest.thumbnail_side
        stores: list[Store] = [GenerationStore(old)] if old is not None and reused else []
        pending = folder / _PENDING
        known = keys_of([*stores, *given, *usable_parts(pending, header)])
        missing = [entry for entry in listing.entries if entry.key not in known]
        bad: list[BadRecord] = []
        batches = embed_entries(
            model,
            listing,
            missing,
            thumbnail_side=header.thumbnail_side,
            batch_size=options.batch_size,
            bad=bad,
        )
        _write_pending(pending, shown_progress(batches, len(missing), progress), header)
        entries, taken = gathered(listing.entries, [*stores, *given, *usable_parts(pending, header)])
        if not entries:
            reasons = first_names([f"{one.place}: {one.reason}" for one in [*listing.bad, *bad]], most=3)
            raise DataError(f"{config.source}: no {NOUNS[what]} in it can be used: {reasons}")
        manifest = replace(manifest, count=len(entries))
        notes = [*listing.notes]
        if old is None or _has_changed(old, manifest, entries, options):
            texts = random_texts(model, entries)
            write_generation(folder, manifest, entries, taken, texts)
            switch(folder, _measured(folder, manifest, texts, options, notes))
        else:
            remove_others(folder, old.manifest)
        shutil.rmtree(pending, ignore_errors=True)
    there = {entry.key for entry in entries}
    return Update(
        index=open_index(folder),
        added=sum(entry.key in there for entry in missing),
        kept=sum(entry.key in known for entry in entries),
        dropped=0 if old is None else len(keys_of([GenerationStore(old)]) - there),
        bad=[*listing.bad, *bad],
        notes=notes,
    )


def _usual(model: Embedder) -> What:
    """What a model embeds where nobody says."""
    if "encode_images" in model.abilities:
        return "images"
    return "audio" if "encode_audio" in model.abilities else "texts"


def _manifest(
    model: Embedder,
    fingerprint: str,
    what: What,
    config: DataConfig,
    options: IndexOptions,
    old: Index | None,
    model_path: str | None,
) -> Manifest:
    """Of the next generation, as far as it is known before anything is embedded."""
    former = None if old is None else old.manifest
    side = options.thumbnail_side
    if side is None:
        side = _THUMBNAIL_SIDE if former is None else former.thumbnail_side
    return Manifest(
        generation=1 if former is None else former.generation + 1,
        what=what,
        count=0,
        dimension=model.dim,
        dtype=options.dtype or ("float32" if former is None else former.dtype),
        model={
            "fingerprint": fingerprint,
            "method": model.config["method"],
            "abilities": model.abilities,
            "path": model_path or (None if former is None else former.model.get("path")),
        },
        source=config.source,
        thumbnail_side=side if what == "images" else 0,
    )


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


def _existing(folder: Path, fingerprint: str, what: What) -> Index | None:
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
    if index.fingerprint != fingerprint:
        raise ModelError(
            f"{folder} was built by another model ({index.manifest.model['method']}, fingerprint "
            f"{index.fingerprint[:8]}): name another --out, or remove it."
        )
    if index.manifest.what != what:
        raise ConfigError(f"{folder} is an index of {index.manifest.noun}; name another --out.")
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


def _has_changed(old: Index, manifest: Manifest, entries: Sequence[Entry], options: IndexOptions) -> bool:
    """Whether the new generation would differ from the old one."""
    import pyarrow as pa

    known = [
        replace(each, generation=0, calibration={}, approximate=None) for each in (old.manifest, manifest)
    ]
    table = pa.table(metadata_columns(entries))
    shown = [name for name in old.table.column_names if name not in HIDDEN_COLUMNS or name == "key"]
    wanted = options.least_recall if is_wanted(options.approximate, len(entries)) else None
    there = None if old.manifest.approximate is None else old.manifest.approximate["least_recall"]
    return (
        known[0] != known[1]
        or wanted != there
        or set(shown) != set(table.column_names)
        or not old.table.select(shown).equals(table.select(shown))
    )


def _measured(
    folder: Path, manifest: Manifest, texts: RandomTexts, options: IndexOptions, notes: list[str]
) -> Manifest:
    """The manifest with the scores of random pairs, and with the approximate index if one is wanted."""
    vectors = np.load(manifest.file(folder, "vectors.npy"), mmap_mode="r")
    kinds = ["image"] if manifest.what == "images" else []
    kinds += ["text"] if len(texts.vectors) else []
    found = {kind: quantiles_of(random_scores(texts, vectors, (kind,), (1.0,))) for kind in kinds}
    approximate = None
    if is_wanted(options.approximate, manifest.count):
        approximate, said = build_approximate(
            vectors,
            texts.vectors,
            manifest.file(folder, "approximate.faiss"),
            least_recall=options.least_recall,
            is_asked=options.approximate == "always",
        )
        notes.append(said)
    return replace(manifest, calibration=found, approximate=approximate)
