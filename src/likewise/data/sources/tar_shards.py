"""Tar shards as WebDataset writes them: members that share a name up to the first dot are one record.

Pictures from elsewhere have dots in their names (`IMG.2019.01.jpg`); where that rule would make one record of
many, names end at their last dot.
"""

from __future__ import annotations

import json
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain
from typing import IO, Any

from likewise.data.config import DataConfig
from likewise.data.files import name_of, open_binary, stat_entry
from likewise.data.images.refs import MemberImage
from likewise.data.record import BadRecord, Problem, Record, Source
from likewise.data.sources.tables import clean_texts
from likewise.data.tables.names import IMAGE_EXTENSIONS, is_missing
from likewise.data.tables.roles import listed_texts, named_column
from likewise.data.text_encoding import check_texts, decoded, legible
from likewise.errors import RecordError, SourceError
from likewise.messages import first_names

__all__ = ["source_of_shards"]

_TEXTS = ("txt", "text", "caption", "captions")
_LABELS = ("cls", "label", "class")
_ROLES_NAMED = ("text", "label", "group")  # an image is a member, a split a file, an id the members' name
_MAX_SIDE_BYTES = 16 << 20  # a caption or description larger than this is not read at all


def source_of_shards(addresses: list[str], config: DataConfig, splits: dict[str, str]) -> Source:
    """List the records of uncompressed tar shards, without reading their images.

    Args:
        addresses: the shards, in order.
        config: the user's options.
        splits: the split of each shard where the file names tell.
    """
    source, found, keys, several = _read_shards(addresses, config, splits, at_last_dot=False)
    if _has_dotted_names(several):
        source, found, keys, several = _read_shards(addresses, config, splits, at_last_dot=True)
        source.notes.append("pictures have dots in their names, which were cut at the last one")
    elif several:
        taken, *passed = several[0].images
        source.notes.append(
            f"{len(several):,} records hold several pictures; of {several[0].key} {taken} was taken and "
            f"{first_names(passed, most=3)} passed over"
        )
    source.columns_found = sorted(found)
    for role in _ROLES_NAMED:
        for name in _named(role, config):
            named_column(config.source, sorted(found | keys), role, name)
    has = {name for record in source.records for name in ("label", "texts") if getattr(record, name)}
    roles = {
        "image": set(_image_suffixes(found)),
        "text": found & {*_read("text", config), "json"} if "texts" in has else set(),
    }
    roles["label"] = found & {*_read("label", config), "json"} if "label" in has else set()
    source.columns = {role: ", ".join(sorted(names)) for role, names in roles.items() if names}
    return source


@dataclass(frozen=True)
class _Several:
    """A record of several pictures."""

    key: str
    images: list[str]
    alone: bool
    """It holds nothing else."""


def _has_dotted_names(several: list[_Several]) -> bool:
    """Whether several pictures under a key are pictures of their own, not views of one thing by name."""
    suffixes = {suffix for record in several for suffix in record.images}
    if len(suffixes) > len(several):  # views have the same names in every record
        return True
    return bool(several) and all(
        record.alone and all(suffix.rpartition(".")[0].isdecimal() for suffix in record.images)
        for record in several
    )


def _read_shards(
    addresses: list[str], config: DataConfig, splits: dict[str, str], *, at_last_dot: bool
) -> tuple[Source, set[str], set[str], list[_Several]]:
    """The records, the suffixes of members, the keys of descriptions, and the records of several pictures."""
    source = Source(kind=f"{len(addresses)} tar shards", address=config.source, records=[])
    source.splits_from = "files" if splits else None
    source.roles_named = _ROLES_NAMED
    source.unread = {"image_root": "shards hold their images"}
    found: set[str] = set()
    keys: set[str] = set()
    several: list[_Several] = []
    for address in addresses:
        if not address.endswith(".tar"):
            raise SourceError(
                f"{address}: a compressed shard cannot be read by place; unpack it to a plain .tar"
            )
        entry = stat_entry(address)
        split = splits.get(address)
        try:
            with open_binary(address) as stream:
                for key, members in _by_key(stream, name_of(address), source, split, at_last_dot):
                    found.update(members)
                    images = _image_suffixes(members)
                    if len(images) > 1:
                        several.append(_Several(key, images, len(images) == len(members)))
                    record = _Member(name_of(address), key, members, split, config)
                    record.add_to(source, stream, entry.address, entry.state)
                    keys.update(record.described)
        except tarfile.ReadError as error:
            raise SourceError(f"{address}: no readable tar file: {error}") from error
    return source, found, keys, several


def _named(role: str, config: DataConfig) -> tuple[str, ...]:
    """The suffixes of members or keys of descriptions that the user named for a role."""
    if role == "text":
        return config.text_columns
    name = getattr(config, f"{role}_column")
    return () if name is None else (name,)


def _read(role: str, config: DataConfig) -> tuple[str, ...]:
    """Those that are read for it: the user's, or else WebDataset's usual ones."""
    return _named(role, config) or {"text": _TEXTS, "label": _LABELS}.get(role, ())


def _image_suffixes(names: Any) -> list[str]:
    return [name for name in names if f".{name.rsplit('.', 1)[-1]}" in IMAGE_EXTENSIONS]


def _by_key(
    stream: IO[bytes], shard: str, source: Source, split: str | None, at_last_dot: bool
) -> Iterator[tuple[str, dict[str, tarfile.TarInfo]]]:
    """Members that follow one another under the same key, by suffix."""
    key = ""
    members: dict[str, tarfile.TarInfo] = {}
    try:
        with tarfile.open(fileobj=stream, mode="r:") as archive:
            while (member := archive.next()) is not None:
                archive.members.clear()  # type: ignore[attr-defined]  # it would remember every member of a large shard
                if not member.isfile():
                    continue
                folder, _, name = legible(member.name).rpartition("/")
                stem, _, suffix = name.rpartition(".") if at_last_dot else name.partition(".")
                if name.startswith("."):
                    continue
                if f"{folder}/{stem}" != key:
                    if members:
                        yield key.lstrip("/"), members
                    key, members = f"{folder}/{stem}", {}
                members[suffix.lower()] = member
            reason = _unread(stream, archive.offset)
    except tarfile.ReadError as error:
        if not source.records and not members:
            raise
        reason = f"truncated shard: {error}"
    if reason is not None:
        reason = f"{reason}; what comes after {key.lstrip('/')} is lost"
        source.problems.append(Problem("row", BadRecord(shard, shard, reason), split))
    if members:
        yield key.lstrip("/"), members


def _unread(stream: IO[bytes], end: int) -> str | None:
    """Why there is more in a shard than tarfile, which ends in silence at whatever is no header, has read.

    Args:
        stream: the shard.
        end: where the last header was looked for. Zeros are to follow, to the end of the file.
    """
    stream.seek(end)
    if any(stream.read(tarfile.BLOCKSIZE)):
        return f"damaged shard: no member begins at byte {end:,}, where one should"
    while block := stream.read(1 << 16):
        if block.count(0) < len(block):
            return f"damaged shard: it goes on after its end at byte {end:,} (two shards joined by cat?)"
    return None


class _Member:
    """One record of a shard in the making."""

    def __init__(
        self, shard: str, key: str, members: dict[str, tarfile.TarInfo], split: str | None, config: DataConfig
    ) -> None:
        self._shard, self._key, self._members, self._split, self._config = shard, key, members, split, config
        self._place = f"{shard}/{key}"
        self.described: dict[str, Any] = {}  # by its .json member, once it is added

    def add_to(self, source: Source, stream: IO[bytes], address: str, version: str) -> None:
        """Append the record, or the reasons against it."""
        self.described = self._described(source, stream)
        image = None
        for suffix in _image_suffixes(self._members):
            member = self._members[suffix]
            image = MemberImage(address, version, member.offset_data, member.size)
            break
        names = _read("text", self._config)
        raw = [text for name in names if (text := self._text(stream, name)) is not None]
        for name in names:
            raw += listed_texts(self.described.get(name), self._config.text_separator)
        texts, faults = clean_texts(raw, self._config)
        for _, reason in faults:
            self._problem(source, "text", reason)
        label = self._first(stream, _read("label", self._config))
        group = self._first(stream, _read("group", self._config))
        try:
            check_texts({"label": label, "group": group})
        except RecordError as error:
            self._problem(source, "row", str(error))
            return
        record = Record(
            id=self._place,
            place=self._place,
            image=image,
            texts=tuple(dict.fromkeys(texts)),  # img2dataset writes the caption twice, as .txt and in .json
            label=label,
            group=group,
            split=self._split,
        )
        if image is None and not texts:
            suffixes = ", ".join(sorted(self._members))
            self._problem(source, "row", f"no image and no caption among its members ({suffixes})")
        else:
            source.records.append(record)

    def _first(self, stream: IO[bytes], names: tuple[str, ...]) -> str | None:
        """What the first of these members says, or else the first of these keys."""
        members = (self._text(stream, name) or "" for name in names)
        keys = (str(value) for name in names if not is_missing(value := self.described.get(name)))
        return next((said for text in chain(members, keys) if (said := text.strip())), None)

    def _described(self, source: Source, stream: IO[bytes]) -> dict[str, Any]:
        text = self._text(stream, "json")
        if text is None:
            return {}
        try:
            described = json.loads(text)
        except (ValueError, RecursionError) as error:
            self._problem(source, "text", f"no valid JSON: {error}")
            return {}
        return described if isinstance(described, dict) else {}

    def _text(self, stream: IO[bytes], suffix: str) -> str | None:
        member = self._members.get(suffix)
        if member is None:
            return None
        stream.seek(member.offset_data)  # the archive seeks to the next header by itself
        return decoded(stream.read(min(member.size, _MAX_SIDE_BYTES)), self._config.encoding)

    def _problem(self, source: Source, part: str, reason: str) -> None:
        source.problems.append(Problem(part, BadRecord(self._place, self._place, reason), self._split))
