"""Tar shards as WebDataset writes them: members that share a name up to the first dot are one record.

Names from elsewhere have more dots (`IMG.2019.01.jpg`, `Track 1.0 (clean).jpg`). Several images that share a
name up to the first dot stay one record only if their suffixes recur under other names (`0.left.png`,
`0.right.png`). Otherwise an image is named up to its last dot, and so is what belongs to it.
"""

from __future__ import annotations

import json
import os
import tarfile
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import chain
from typing import IO, Any

from likewise.data.cells import clean_texts, listed_texts, name_in
from likewise.data.config import DataConfig
from likewise.data.files import Entry, name_of, open_binary, stat_entry
from likewise.data.images.refs import MemberImage
from likewise.data.record import BadRecord, Problem, Record, Source
from likewise.data.sources.image_folder import MAX_CAPTION_BYTES
from likewise.data.tables.names import AUDIO_EXTENSIONS, IMAGE_EXTENSIONS
from likewise.data.tables.roles import named_column
from likewise.data.text_encoding import check_texts, decoded, legible
from likewise.errors import RecordError, SourceError
from likewise.messages import first_names

__all__ = ["source_of_shards"]

_USUAL = {"text": ("txt", "text", "caption", "captions"), "label": ("cls", "label", "class")}
_ROLES_NAMED = ("text", "label", "group")  # images are members, splits are files, ids are member names


class _Member:
    """A file in a shard.

    Attributes:
        first_stem: its path up to the first dot of the name.
        stem: its path up to the last dot of the name.
    """

    __slots__ = ("first_stem", "num_bytes", "offset", "path", "stem")

    def __init__(self, path: str, offset: int, num_bytes: int) -> None:
        self.path, self.offset, self.num_bytes = path, offset, num_bytes
        folder, slash, name = path.rpartition("/")
        self.first_stem = folder + slash + name.partition(".")[0]
        self.stem = path.rpartition(".")[0] if "." in name else path

    @property
    def is_image(self) -> bool:
        """Whether the name ends as images or sounds do."""
        return self.path.lower().endswith(IMAGE_EXTENSIONS + AUDIO_EXTENSIONS)

    @property
    def column(self) -> str:
        """The column of its file."""
        return "audio" if self.path.lower().endswith(AUDIO_EXTENSIONS) else "image"


@dataclass(slots=True)
class _Group:
    """The members of one record, by suffix in lower case."""

    key: str
    members: dict[str, _Member] = field(default_factory=dict)

    @property
    def images(self) -> list[str]:
        """The suffixes of its images, or of its sounds where it has no image."""
        return self.files["image"] or self.files["audio"]

    @property
    def files(self) -> dict[str, list[str]]:
        """The suffixes of its images and sounds by column."""
        found: dict[str, list[str]] = {"image": [], "audio": []}
        for suffix, member in self.members.items():
            if member.is_image:
                found[member.column].append(suffix)
        return found


def source_of_shards(addresses: list[str], config: DataConfig, splits: dict[str, str]) -> Source:
    """List the records of uncompressed tar shards, without reading their images.

    Args:
        addresses: the shards, in order.
        config: the user's options.
        splits: the split of each shard, where the file names tell it.
    """
    source = Source(
        kind=f"{len(addresses)} tar shards",
        address=config.source,
        records=[],
        splits_from="files" if splits else None,
        roles_named=_ROLES_NAMED,
        unread={"image_root": "shards hold their images"},
    )
    reader = _ShardReader(source, config)
    for address in addresses:
        reader.read(address, splits.get(address))
    reader.describe()
    return source


class _ShardReader:
    """Reads shards into a source."""

    def __init__(self, source: Source, config: DataConfig) -> None:
        self._source, self._config = source, config
        self._named = {role: config.columns_named(role) for role in _ROLES_NAMED}
        self._read = {role: names or _USUAL.get(role, ()) for role, names in self._named.items()}
        self._chosen = {name for names in self._named.values() for name in names}
        # Middles of names (left, right) that tell the images of one record apart.
        self._views = {"", *(name.rpartition(".")[0] for name in self._chosen)}
        self._suffixes: set[str] = set()
        self._keys: set[str] = set()
        self._several: list[_Group] = []
        self._repeated: list[str] = []
        self._unmatched: list[str] = []

    def read(self, address: str, split: str | None) -> None:
        """Append the records and problems of a shard. Raises SourceError."""
        if not address.endswith(".tar"):
            raise SourceError(f"{address}: compressed shards are not read; unpack it to a plain .tar")
        entry, shard = stat_entry(address), name_of(address)
        with open_binary(address) as stream:
            members, fault = _list_members(stream)
            if fault is not None and not members and not self._source.records:
                raise SourceError(f"{address}: no readable tar file: {fault.rpartition(': ')[2]}")
            for group in self._grouped(members):
                self._suffixes.update(group.members)
                if len(group.images) > 1:
                    self._several.append(group)
                self._add(group, stream, shard, entry, split)
        if fault is not None:
            last = members[-1].first_stem if members else "its beginning"
            self._problem("row", shard, f"{fault}; what comes after {last} is lost", split)

    def describe(self) -> None:
        """Name the columns of the source, and note what was not read as it may be meant."""
        source, found = self._source, self._suffixes
        if self._several:
            taken, *skipped = self._several[0].images
            source.notes.append(
                f"{len(self._several):,} records hold several images; of {self._several[0].key} {taken} was "
                f"taken and {first_names(skipped, most=3)} skipped"
            )
        if self._repeated:
            source.notes.append(
                f"{len(self._repeated):,} members have the name of an earlier one "
                f"({first_names(self._repeated, most=3)}); each begins a record of its own"
            )
        if self._unmatched:
            source.notes.append(
                f"{len(self._unmatched):,} members are named like no image up to their last dot, and are not "
                f"read with one ({first_names(self._unmatched, most=3)})"
            )
        source.columns_found = sorted(found)
        for role, names in self._named.items():
            for name in names:
                named_column(self._config.source, sorted(found | self._keys), role, name)
        has = {name for record in source.records for name in record.values}
        columns = {
            "image": {suffix for suffix in found if f".{suffix}".endswith(IMAGE_EXTENSIONS)},
            "audio": {suffix for suffix in found if f".{suffix}".endswith(AUDIO_EXTENSIONS)},
            "text": found & {*self._read["text"], "json"} if "text" in has else set(),
            "label": found & {*self._read["label"], "json"} if "label" in has else set(),
        }
        source.columns = {role: ", ".join(sorted(names)) for role, names in columns.items() if names}

    def _grouped(self, members: Iterable[_Member]) -> list[_Group]:
        """The records of a shard's members."""
        by_first: dict[str, list[_Member]] = {}
        for member in members:
            by_first.setdefault(member.first_stem, []).append(member)
        stems = {first: _record_stems(together) for first, together in by_first.items()}
        middles = Counter(
            stem[len(first) + 1 :] for first, own in stems.items() if len(own) > 1 for stem in own
        )
        self._views |= {middle for middle, count in middles.items() if count > 1 and middle[:1].isalpha()}
        groups: list[_Group] = []
        for first, together in by_first.items():
            own = stems[first]
            apart = len(own) > 1 and not all(stem[len(first) + 1 :] in self._views for stem in own)
            latest: dict[str, _Group] = {}
            for member in together:
                key = member.stem if apart else own[0] if len(own) == 1 else first
                suffix = member.path[len(key if member.stem == key else first) + 1 :].lower()
                if key in latest and suffix in latest[key].members:  # x.png again, or x.PNG beside it
                    self._repeated.append(member.path)
                    del latest[key]
                if key not in latest:
                    latest[key] = _Group(key)
                    groups.append(latest[key])
                latest[key].members[suffix] = member
                if member.stem not in (own if apart else [*own, first]) and suffix not in self._chosen:
                    self._unmatched.append(member.path)
        return groups

    def _add(self, group: _Group, stream: IO[bytes], shard: str, entry: Entry, split: str | None) -> None:
        """Append the record of a group, or the reason why it cannot be used."""
        place = f"{shard}/{group.key.lstrip('/')}"
        reader = _SideFiles(group, stream, self._config.encoding)
        described = reader.described()
        self._keys.update(described)
        raw: list[Any] = [text for name in self._read["text"] if (text := reader.text(name)) is not None]
        for name in self._read["text"]:
            raw += listed_texts(described.get(name), self._config.text_separator)
        texts, faults = clean_texts(raw, self._config)
        label = reader.first(self._read["label"], described)
        own_group = reader.first(self._read["group"], described)
        for reason in [*reader.faults, *(reason for _, reason in faults)]:
            self._problem("text", place, reason, split)
        files: dict[str, MemberImage] = {}
        for column, suffixes in group.files.items():
            if not suffixes:
                continue
            member = group.members[suffixes[0]]
            files[column] = MemberImage(entry.address, entry.state, member.offset, member.num_bytes)
            if entry.num_bytes < member.offset + member.num_bytes and entry.num_bytes > 0:
                what = "sound" if column == "audio" else column
                self._problem(column, place, f"truncated: the shard ends before this {what} does", split)
                return
        try:
            check_texts({"label": label, "group": own_group})
        except RecordError as error:
            self._problem("row", place, str(error), split)
            return
        if not files and not texts:
            members = ", ".join(sorted(group.members))
            self._problem(
                "row", place, f"no image, no sound and no caption among its members ({members})", split
            )
            return
        record = Record(
            id=place,
            place=place,
            **files,
            text=tuple(dict.fromkeys(texts)),  # img2dataset writes the caption twice, as .txt and in .json
            label=label,
            group=own_group,
            split=split,
        )
        self._source.records.append(record)

    def _problem(self, part: str, place: str, reason: str, split: str | None) -> None:
        self._source.problems.append(Problem(part, BadRecord(place, place, reason), split))


class _SideFiles:
    """The text members beside an image; `faults` collects the reasons why some cannot be read."""

    def __init__(self, group: _Group, stream: IO[bytes], encoding: str) -> None:
        self._members, self._stream, self._encoding = group.members, stream, encoding
        self.faults: list[str] = []

    def text(self, suffix: str) -> str | None:
        """The content of a member; None if there is none, or it is too large."""
        member = self._members.get(suffix)
        if member is None:
            return None
        if member.num_bytes > MAX_CAPTION_BYTES:
            self.faults.append(f"its .{suffix} of {member.num_bytes:,} bytes is too large to read")
            return None
        self._stream.seek(member.offset)
        return decoded(self._stream.read(member.num_bytes), self._encoding)

    def described(self) -> dict[str, Any]:
        """The content of the .json member."""
        text = self.text("json")
        try:
            described = None if text is None else json.loads(text)
        except (ValueError, RecursionError) as error:
            self.faults.append(f"no valid JSON: {error}")
            return {}
        return described if isinstance(described, dict) else {}

    def first(self, names: tuple[str, ...], described: dict[str, Any]) -> str | None:
        """The content of the first of these members, or else the value of the first of these keys."""
        values = chain(map(self.text, names), (described.get(name) for name in names))
        return next((name for value in values if (name := name_in(value)) is not None), None)


def _record_stems(members: list[_Member]) -> list[str]:
    """The names up to the last dot of the images, or of all members if none is an image."""
    images = [member.stem for member in members if member.is_image]
    return list(dict.fromkeys(images or [member.stem for member in members]))


def _list_members(stream: IO[bytes]) -> tuple[list[_Member], str | None]:
    """The regular files of a shard, and why it cannot be read to its end."""
    members: list[_Member] = []
    end = stream.seek(0, os.SEEK_END)
    stream.seek(0)
    try:
        with tarfile.open(fileobj=stream, mode="r:") as archive:
            while (info := archive.next()) is not None:
                archive.members.clear()  # type: ignore[attr-defined]  # tarfile would remember every member
                if info.size < 0:
                    return members, f"damaged shard: a member of {info.size:,} bytes"
                name = legible(info.name)
                if info.isfile() and not info.issparse() and not name.rpartition("/")[2].startswith("."):
                    members.append(_Member(name, info.offset_data, info.size))
                if info.offset_data + info.size > end:
                    return members, "truncated shard: unexpected end of data"
            return members, _unread(stream, archive.offset)
    except (tarfile.TarError, ValueError, OverflowError, MemoryError) as error:
        return members, f"truncated shard: {error}"


def _unread(stream: IO[bytes], end: int) -> str | None:
    """Why a shard holds more than tarfile has read; tarfile stops silently at anything that is no header.

    Args:
        stream: the shard.
        end: where tarfile looked for the last header. Only zeros may follow.
    """
    stream.seek(end)
    if any(stream.read(tarfile.BLOCKSIZE)):
        return f"damaged shard: no member begins at byte {end:,}, where one should"
    while block := stream.read(1 << 16):
        if block.count(0) < len(block):
            return f"damaged shard: it goes on after its end at byte {end:,} (two shards joined by cat?)"
    return None
