"""One record, the ways to reach its image, and what a record that cannot be used is turned into."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Protocol

from likewise.data.text_encoding import legible

__all__ = ["BadRecord", "ImageRef", "Problem", "Record", "Source"]


class ImageRef(Protocol):
    """A way to an image's bytes: small, hashable and picklable, so that it can be sent to workers."""

    @property
    def key(self) -> str:
        """Names the content: changes when the bytes are replaced (place, size and time of change)."""

    @property
    def num_bytes(self) -> int:
        """Size of the encoded image; 0 where only reading would tell."""

    def read(self) -> bytes:
        """The encoded image. Raises RecordError where it cannot be had."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """One thing to learn from: an image, its texts, or both.

    Attributes:
        id: unique name within the source, the same on every machine.
        place: where the user finds it, such as "captions.csv:12".
        image: the way to its bytes, or None.
        texts: captions or sentences, stripped, none empty.
        label, group, domain, split: as the source has them, None where it says nothing.
    """

    id: str
    place: str
    image: ImageRef | None = None
    texts: tuple[str, ...] = ()
    label: str | None = None
    group: str | None = None
    domain: str | None = None
    split: str | None = None


@dataclass(frozen=True, slots=True)
class BadRecord:
    """A record, or one caption of it, that was set aside: which, where it is, and why.

    All three can be printed and saved, even where a name that is no valid text is what was wrong.
    """

    id: str
    place: str
    reason: str

    def __post_init__(self) -> None:
        """Put a replacement character for whatever is no text."""
        for name in ("id", "place", "reason"):
            object.__setattr__(self, name, legible(getattr(self, name)))


@dataclass(frozen=True, slots=True)
class Problem:
    """A bad record found while listing, and which need it concerns.

    Attributes:
        part: "image", "text" (one caption was dropped), or "row" (nothing of the row is usable).
        bad: what was set aside.
        split: the part of the data it belonged to, where known.
    """

    part: str
    bad: BadRecord
    split: str | None = None


@dataclass(kw_only=True)
class Source:
    """What was understood of a source: its records in order, and what could not be used.

    Attributes:
        kind: such as "table (CSV)" or "folder of images".
        address: as the user gave it.
        records: all usable records, of every split.
        problems: what was found unusable while listing (images are not opened yet).
        columns: role ("image", "text", ...) to the column or columns that play it.
        columns_found: every column there is.
        roles_named: the roles whose column an option may name in a source of this kind.
        splits_from: "column split", "files", "subfolders", or None where the source names no splits.
        label_names: names in their own order where the source declares them (Hugging Face class labels).
        unread: options that mean nothing to a source of this kind, and why.
        notes: sentences for the user: what was ignored or assumed.
    """

    kind: str
    address: str
    records: list[Record]
    problems: list[Problem] = field(default_factory=list)
    columns: dict[str, str] = field(default_factory=dict)
    columns_found: list[str] = field(default_factory=list)
    roles_named: tuple[str, ...] = ()
    splits_from: str | None = None
    label_names: list[str] | None = None
    unread: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    pixels: Any = None  # (N, 3, S, S) uint8 where the source is drawn in memory
