"""One record, the ways to reach its image, and what a record that cannot be used is turned into."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Protocol

from likewise.data.text_encoding import legible
from likewise.errors import RecordError

__all__ = ["BadRecord", "Generated", "ImageRef", "Problem", "Record", "Source", "group_by_reason"]


class ImageRef(Protocol):
    """A way to the bytes of an image or sound: small, hashable and picklable, so that workers can have it."""

    @property
    def key(self) -> str:
        """Names the content: changes when the bytes are replaced (place, size and time of change)."""

    @property
    def num_bytes(self) -> int:
        """Size of the encoded file; 0 where only reading would tell."""

    def read(self) -> bytes:
        """The encoded file. Raises RecordError where it cannot be had."""


@dataclass(frozen=True, slots=True)
class Generated:
    """An image or a sound that the source holds itself: row `row` of `Source.pixels` or `Source.waves`."""

    row: int

    @property
    def key(self) -> str:
        """See ImageRef."""
        return f"generated {self.row}"

    @property
    def num_bytes(self) -> int:
        """See ImageRef."""
        return 0

    def read(self) -> bytes:
        """What is generated has no encoded form."""
        raise RecordError("a generated row has no file")


@dataclass(slots=True, init=False)
class Record:
    """One sample: what it has of each column.

    Attributes:
        id: unique name within the source, the same on every machine.
        place: where the user finds it, such as "captions.csv:12".
        split: as the source has it, None where it names none.
        values: by column (`likewise.data.columns`); columns that the record does not have are not in it.
            "further" has the table columns that play no role, "written" the paths of files as the table has
            them, where these are read.
    """

    id: str
    place: str
    split: str | None
    values: dict[str, Any]

    def __init__(self, *, id: str, place: str, split: str | None = None, **values: Any) -> None:
        """None and () stand for no value."""
        self.id, self.place, self.split = id, place, split
        self.values = {name: value for name, value in values.items() if value is not None and value != ()}

    @property
    def image(self) -> ImageRef | None:
        """The way to its image."""
        return self.values.get("image")

    @property
    def texts(self) -> tuple[str, ...]:
        """Its captions or sentences, stripped, none empty."""
        texts: tuple[str, ...] = self.values.get("text", ())
        return texts

    @property
    def label(self) -> str | None:
        """Its class."""
        return self.values.get("label")

    @property
    def further(self) -> dict[str, Any]:
        """Table columns that play no role, by their own names; none unless they were asked for."""
        further: dict[str, Any] = self.values.get("further", {})
        return further

    @property
    def written(self) -> dict[str, str]:
        """Paths of its files by column, as they are written in a table that is read row by row."""
        written: dict[str, str] = self.values.get("written", {})
        return written

    @property
    def group(self) -> str | None:
        """What counts as the same thing has the same group."""
        return self.values.get("group")

    @property
    def domain(self) -> str | None:
        """Where it comes from."""
        return self.values.get("domain")


_MOST_CHARACTERS = 2000


@dataclass(frozen=True, slots=True)
class BadRecord:
    """A record, or one caption of it, that was set aside: which, where it is, and why.

    All three can be printed and saved: see `legible`.
    """

    id: str
    place: str
    reason: str

    def __post_init__(self) -> None:
        for name in ("id", "place", "reason"):
            object.__setattr__(self, name, legible(getattr(self, name)[:_MOST_CHARACTERS]))


def group_by_reason(records: Iterable[BadRecord]) -> list[tuple[BadRecord, int]]:
    """The first bad record of each kind of reason, and how many there are; the most frequent first.

    Reasons are of a kind if they are equal up to the first colon, numbers aside.
    """
    first: dict[str, BadRecord] = {}
    counts: Counter[str] = Counter()
    for record in records:
        kind = re.sub(r"\d[\d,.]*", "0", record.reason.partition(":")[0])
        first.setdefault(kind, record)
        counts[kind] += 1
    return [(first[kind], count) for kind, count in counts.most_common()]


@dataclass(frozen=True, slots=True)
class Problem:
    """A bad record found while listing, and which need it concerns.

    Attributes:
        part: a column ("text": one caption was dropped), or "row" (nothing of the row is usable).
        bad: what was set aside.
        split: the part of the data it belonged to, where known.
    """

    part: str
    bad: BadRecord
    split: str | None = None


@dataclass(kw_only=True)
class Source:
    """A source that was read: its records in order, and what could not be used.

    Attributes:
        kind: such as "table (CSV)" or "folder of images".
        address: as the user gave it.
        records: all usable records, of every split.
        problems: unusable records found while listing (images are not opened yet).
        columns: role ("image", "text", ...) to the table column or columns that play it.
        columns_found: every table column.
        roles_named: the roles whose table column an option may name in a source of this kind.
        splits_from: "column split", "files", "subfolders", or None where the source names no splits.
        label_names: classes in their own order where the source declares them (Hugging Face class labels).
        unread: options that have no effect on a source of this kind, and why.
        notes: sentences for the user: what was ignored or assumed.
        hints: likely remedies, where image files were not found.
        pixels: (N, 3, S, S) uint8 where images are generated in memory.
        waves: (N, L) int16 where sounds are, of `rate` samples a second.
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
    hints: list[str] = field(default_factory=list)
    pixels: Any = None
    waves: Any = None
    rate: int = 0

    @property
    def columns_unread(self) -> list[str]:
        """Table columns that play no role."""
        if not self.roles_named:
            return []  # of a source without table columns
        read = {*self.columns.values()} | {n for names in self.columns.values() for n in names.split(", ")}
        return [name for name in self.columns_found if name and name not in read]

    @property
    def unread_notes(self) -> list[str]:
        """A remark on the table columns that play no role, where there are any."""
        if not self.columns_unread:
            return []
        names = ", ".join(self.columns_unread)
        return [f"columns not read: {names}; options such as --data.text-column name what a column holds"]
