"""One part of the data, in columns, ready to be cut into batches."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, reduce
from typing import Any, Generic, TypeVar, cast

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from likewise.data.column_kinds import Classes, Kind, Names, ordered_names
from likewise.data.columns import MAIN, column_names, column_of
from likewise.data.config import DataConfig
from likewise.data.filtering import Loaded, domain_role
from likewise.data.images.decode import decode_upright
from likewise.data.images.stores import Pixels
from likewise.data.record import ImageRef
from likewise.data.stored_kinds import Stored
from likewise.errors import SourceError
from likewise.messages import first_names

__all__ = ["Dataset", "build_datasets"]

T = TypeVar("T")

_FIRST_IN_FINGERPRINT = ("image", "text", "label")  # written even where they are missing
_NAME_IN_FINGERPRINT = {"domain": "domains"}


class _Part(Generic[T]):
    """An attribute of a stored column; None where the data has no such column."""

    def __init__(self, column: str, attribute: str) -> None:
        self._column, self._attribute = column, attribute

    def __get__(self, dataset: Dataset, owner: type) -> T:
        return cast(T, getattr(dataset.columns.get(self._column), self._attribute, None))


@dataclass(frozen=True)
class Dataset:
    """N records side by side.

    Attributes:
        columns: what the data has, by name; always `id` and `group`.
        num_source_domains: the domains from this number on are target domains; None where there are none.
        num_source_classes: the classes from this number on are of target rows alone.
    """

    columns: dict[str, Any]
    num_source_domains: int | None = None
    num_source_classes: int | None = None

    def __len__(self) -> int:
        return len(self.ids)

    def has(self, name: str) -> bool:
        """Whether the data has the column."""
        return name in self.columns

    def column(self, name: str) -> Any:
        """The stored column. Raises SourceError where the data has none."""
        if name not in self.columns:
            raise SourceError(f"this data was prepared without the column {name}")
        return self.columns[name]

    def with_columns(self, **columns: Kind) -> Dataset:
        """The same rows with some columns added or replaced."""
        return replace(self, columns=self.columns | columns)

    ids = _Part[list[str]]("id", "values")
    """N names, unique within the source."""
    groups = _Part[NDArray[np.int64]]("group", "values")
    """(N,) int64; equal numbers mean the same thing."""
    texts = _Part[list[tuple[str, ...]] | None]("text", "values")
    """The texts of each record."""
    labels = _Part[NDArray[np.int64] | None]("label", "values")
    """(N,) int64 into `label_names`, -1 where a record has none."""
    label_names = _Part[list[str] | None]("label", "names")
    """The classes, the same list in every part."""
    domains = _Part[NDArray[np.int64] | None]("domain", "values")
    """(N,) int64 into `domain_names`."""
    domain_names = _Part[list[str] | None]("domain", "names")
    """The domains, those of the source before those of the target."""
    refs = _Part[list[ImageRef | None] | None]("image", "refs")
    """The ways to the encoded images."""
    pixels = _Part[Pixels | None]("image", "pixels")
    """The stored squares."""
    rows = _Part[NDArray[np.int64] | None]("image", "rows")
    """(N,) int64, each record's row in `pixels`."""

    @property
    def is_target(self) -> NDArray[np.bool_] | None:
        """(N,) whether a row is of a target domain; None where there is none."""
        if self.num_source_domains is None or self.domains is None:
            return None
        return self.domains >= self.num_source_domains

    @property
    def content(self) -> NDArray[np.uint64] | None:
        """(N,) uint64 hashes of the encoded images or sounds (of the stored ones where generated)."""
        main = next((self.columns[name] for name in MAIN if name in self.columns), None)
        return None if main is None else cast("Stored", main).content

    @property
    def store_size(self) -> int | None:
        """S, the side of the stored squares in pixels."""
        return None if self.pixels is None else self.pixels.size

    @cached_property
    def fingerprint(self) -> str:
        """A name for this data, the same on every machine: its columns in order, and what is one group.

        Groups that follow from images or texts, and columns that the data does not have, leave no trace.
        """
        described = {name: column.describe() for name, column in self.columns.items() if name != "group"}
        images = described.get("image")
        parts: list[Any] = [self.ids, images, described.get("text"), described.get("label")]
        groups = _renumbered(self.groups.tolist())
        texts = self.texts or [()] * len(self)
        own = images or [text or id_ for text, id_ in zip(texts, self.ids, strict=True)]
        if groups != _renumbered(own):
            parts.append({"groups": groups})
        for name in sorted(described.keys() - {"id", *_FIRST_IN_FINGERPRINT}):
            parts.append({_NAME_IN_FINGERPRINT.get(name, name): described[name]})
        return hashlib.blake2b(json.dumps(parts).encode(), digest_size=8).hexdigest()

    def images(self, indices: Sequence[int] | NDArray[np.int64] | Tensor, name: str = "image") -> Tensor:
        """Stored images, or sounds.

        Args:
            indices: n places in this dataset, in any order, repeats allowed.
            name: which column of images; "audio" for sounds.

        Returns:
            (n, 3, S, S) uint8, upright RGB, contiguous; (n, L) int16 of sounds.
        """
        if name not in self.columns:
            what = "sounds" if name == "audio" else "images"
            raise SourceError(f"this data was prepared without {what}")
        images: Tensor = self.columns[name].collate(np.asarray(indices, dtype=np.int64))
        return images

    def original(self, index: int) -> Image.Image:
        """The image as it came, upright RGB; of generated data the stored square."""
        ref = None if self.refs is None else self.refs[index]
        if ref is not None:
            return decode_upright(ref.read())
        return Image.fromarray(self.images([index])[0].permute(1, 2, 0).contiguous().numpy())

    def joined(self, other: Dataset) -> Dataset:
        """The records of this part, then those of another part of the same source."""
        if other.pixels is not self.pixels or other.label_names != self.label_names:
            raise ValueError("only parts of one source can be joined")
        shared = self.columns.keys() & other.columns.keys()
        columns = {
            name: column.join(other.columns[name]) for name, column in self.columns.items() if name in shared
        }
        return replace(self, columns=columns)

    def subset(self, indices: Sequence[int] | NDArray[np.int64]) -> Dataset:
        """The records at these places, in this order. Images are shared, not copied."""
        chosen = np.asarray(indices, dtype=np.int64)
        return replace(self, columns={name: column.take(chosen) for name, column in self.columns.items()})


def _renumbered(values: Sequence[Hashable]) -> list[int]:
    """Equal values by the number of the first of them: which ones are equal, whatever they are called."""
    first: dict[Hashable, int] = {}
    return [first.setdefault(value, len(first)) for value in values]


Piece = tuple[Loaded, list[int]]
"""Some records of a source, by their places."""


def build_datasets(parts: Sequence[Sequence[Piece]], config: DataConfig) -> list[Dataset]:
    """One dataset a part, with classes and groups numbered alike in all.

    Args:
        parts: of each the sources that it takes records of, and which ones.
        config: says which domains are the target.
    """
    sources = list({id(loaded): loaded for pieces in parts for loaded, _ in pieces}.values())
    _join_spellings(sources)
    keys = dict.fromkeys(key for loaded in sources for key in loaded.group_keys)
    numbers = {key: number for number, key in enumerate(keys)}
    found = {
        name: {value for one in sources for record in one.records if (value := record.values.get(name))}
        for name in column_names(Classes)
    }
    names = {name: ordered_names(values) for name, values in found.items()}
    names["label"], num_source_classes = _classes(sources, config)
    num_source_domains = None
    targets = [name for name in names["domain"] if domain_role(name, config) == "target"]
    if 0 < len(targets) < len(names["domain"]):
        names["domain"] = [name for name in names["domain"] if name not in targets] + targets
        num_source_domains = len(names["domain"]) - len(targets)
    if any(one.role == "target" for one in sources):
        own = [
            sorted({record.domain or "" for one in sources if one.role == role for record in one.records})
            for role in ("source", "target")
        ]
        names["domain"], num_source_domains = own[0] + own[1], len(own[0])
    return [
        Dataset(_columns(pieces, numbers, names), num_source_domains, num_source_classes) for pieces in parts
    ]


def _join_spellings(sources: Sequence[Loaded]) -> None:
    """Make classes that differ in case alone one, called as the first source calls most of its rows, and note
    it. Single letters stay apart, and names that a source declares."""
    names = {name: name for one in sources for name in one.source.label_names or ()}
    by_case = {name.casefold(): name for name in names}
    for one in sources:
        counts = Counter(record.label for record in one.records if record.label is not None)
        for name, _ in counts.most_common():
            names.setdefault(name, name if len(name) == 1 else by_case.setdefault(name.casefold(), name))
    changed = {name: kept for name, kept in names.items() if name != kept}
    if not changed:
        return
    for record in (record for one in sources for record in one.records):
        if record.label in changed:
            record.values["label"] = changed[record.label]
    shown = first_names([f"{name} as {kept}" for name, kept in sorted(changed.items())])
    sources[0].source.notes.append(f"classes that differ in case alone are one: {shown}")


def _classes(sources: Sequence[Loaded], config: DataConfig) -> tuple[list[str], int]:
    """The classes, and how many of them are the source domain's: these come first, so that nothing about
    them depends on the labels of the target."""
    named: dict[bool, set[str]] = {False: set(), True: set()}
    for one in sources:
        for record in one.records:
            if (label := record.values.get("label")) is not None:
                role = one.role or (record.domain and domain_role(record.domain, config))
                named[role == "target"].add(label)
    own, declared = named[False] or named[True], sources[0].source.label_names
    first = declared if declared is not None and own <= set(declared) else ordered_names(own)
    return first + ordered_names(named[True] - set(first)), len(first)


def _columns(
    pieces: Sequence[Piece],
    numbers: dict[str, int],
    names: dict[str, list[str]],
) -> dict[str, Kind]:
    """Every column of one part."""
    records = [loaded.records[place] for loaded, chosen in pieces for place in chosen]
    groups = [numbers[loaded.group_keys[place]] for loaded, chosen in pieces for place in chosen]
    columns: dict[str, Kind] = {
        "id": Names.store([record.id for record in records]),
        "group": Classes(np.asarray(groups, dtype=np.int64), []),
    }
    there = {name for loaded, _ in pieces for record in loaded.records for name in record.values}
    there |= {name for name, known in names.items() if known}
    for name in column_names():
        kind = column_of(name).kind
        if issubclass(kind, Stored):
            if all(name in loaded.stored for loaded, _ in pieces):
                taken = [loaded.stored[name].take(np.asarray(chosen, np.int64)) for loaded, chosen in pieces]
                columns[name] = reduce(lambda first, second: first.join(second), taken)
        elif name in there and name not in columns:
            values = [record.values.get(name) for record in records]
            columns[name] = kind.store(values, names.get(name))
    return columns
