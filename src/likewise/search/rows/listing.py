"""The entries of an index: what a source has to embed, and what is kept of each beside its vector."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from likewise.data import DataConfig, Needs, Record, Source, open_source
from likewise.data.images.cache_build import content_hash
from likewise.data.images.refs import FileImage
from likewise.data.record import BadRecord, Generated, ImageRef
from likewise.data.remedies import remedy
from likewise.errors import SourceError
from likewise.search.manifest import NOUNS

__all__ = ["TAKEN_NAMES", "Entry", "Listing", "What", "list_entries"]

What = Literal["images", "texts", "audio"]
TAKEN_NAMES = frozenset(
    (
        *("id", "key", "path", "captions", "label", "split", "group", "domain", "content"),
        *("thumbnail", "thumbnail_start", "thumbnail_bytes", "vector", "row_number"),
    )
)
"""Names of an index's own columns."""


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One row of an index.

    Attributes:
        id: unique within the source.
        key: changes when what is embedded changes.
        path: of the file, or where in the source the row stands.
        captions: all of them; of an index of texts the text alone.
        label: its class.
        further: other columns, by name.
        image: the way to its image, or to its sound; None in an index of texts.
    """

    id: str
    key: str
    path: str
    captions: tuple[str, ...] = ()
    label: str | None = None
    further: dict[str, Any] = field(default_factory=dict)
    image: ImageRef | None = None


@dataclass(frozen=True, kw_only=True)
class Listing:
    """What was found in a source.

    Attributes:
        entries: in the order of the source.
        pixels: (N, 3, S, S) uint8 where the source is generated; generated images are rows of it. Of sounds
            (N, L) int16, of `rate` samples a second.
        column: "image", "audio" or "text", which the entries were read of.
        bad: what was set aside.
        notes: sentences for the user.
    """

    entries: list[Entry]
    column: str = "image"
    pixels: Any = None
    rate: int = 0
    bad: list[BadRecord] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def list_entries(config: DataConfig, what: What) -> Listing:
    """List a source; images and sounds are not opened.

    Raises:
        SourceError: the source cannot be understood, or has no such thing.
    """
    column = what.removesuffix("s")
    source = open_source(config, Needs(column).with_further())
    generated = source.waves if what == "audio" else source.pixels
    entries = _texts_of(source.records) if what == "texts" else _files_of(source, column, generated)
    bad = [problem.bad for problem in source.problems if problem.part in ("row", column)]
    if not entries and not bad:
        do = remedy(column, source.kind, source.roles_named)
        do += ", or take its sounds (--what audio)" if what == "images" and "audio" in source.columns else ""
        raise SourceError(f"{config.source}: this {source.kind} has no {NOUNS[what]}; {do}.")
    return Listing(
        entries=entries, column=column, pixels=generated, rate=source.rate, bad=bad, notes=source.notes
    )


def _files_of(source: Source, column: str, generated: Any) -> list[Entry]:
    return [
        Entry(
            id=record.id,
            key=_file_key(record, file, generated),
            path=file.address if isinstance(file, FileImage) else record.place,
            captions=record.texts,
            label=record.label,
            further=_further(record),
            image=file,
        )
        for record in source.records
        if (file := record.values.get(column)) is not None
    ]


def _texts_of(records: Sequence[Record]) -> list[Entry]:
    return [
        Entry(
            id=record.id if len(record.texts) == 1 else f"{record.id}#{number}",
            key=hashlib.blake2b(text.encode(), digest_size=16).hexdigest(),
            path=record.place,
            captions=(text,),
            label=record.label,
            further=_further(record),
        )
        for record in records
        for number, text in enumerate(record.texts, start=1)
    ]


def _file_key(record: Record, image: ImageRef, pixels: Any) -> str:
    """Of a file its name within the source, so that a source may move; size and time of change."""
    if isinstance(image, FileImage):
        return f"{record.id}\t{image.num_bytes}\t{image.version}"
    if isinstance(image, Generated):
        return f"generated {content_hash(pixels[image.row].data):016x}"
    return image.key


def _further(record: Record) -> dict[str, Any]:
    """Columns beside those that every index has; a table's own ones get a number where names are taken."""
    named = {"split": record.split, "group": record.group, "domain": record.domain}
    found = {name: value for name, value in named.items() if value is not None}
    for name, value in record.further.items():
        own = name.strip() or "column"
        found[f"{own}_2" if own in TAKEN_NAMES else own] = value
    return found
