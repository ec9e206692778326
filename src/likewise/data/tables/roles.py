"""Recognising what the columns of a table mean, by their headers first and by their cells second."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from likewise.data.columns import MAIN, column_names, column_of
from likewise.data.config import DataConfig
from likewise.data.stored_kinds import Images, Sounds
from likewise.data.tables.names import (
    is_image_name,
    is_missing,
    looks_like_audio_path,
    looks_like_image_path,
    plain_name,
)
from likewise.data.tables.table import Table
from likewise.errors import SourceError
from likewise.messages import closest, first_names, flag

__all__ = ["Roles", "named_column", "recognise"]

_NUMBERED = re.compile(r"(?:caption|text|sentence|description|sent)_?\d+")
_AFTER_TEXT = ("split", "label", "group", "domain", "id")


@dataclass(frozen=True)
class Roles:
    """Which headers play which role.

    Attributes:
        headers: role to headers; several where all hold texts of the same row.
        apart: the texts of a row do NOT mean the same (scored sentence pairs): each is a record of its own.
        other_texts: headers that could mean texts too, and play no role.
    """

    headers: dict[str, tuple[str, ...]]
    apart: bool = False
    other_texts: tuple[str, ...] = ()

    def header(self, role: str) -> str | None:
        """The first header of a role."""
        return next(iter(self.headers.get(role, ())), None)


def recognise(table: Table, config: DataConfig, reads: Collection[str], *, texts: str = "") -> Roles:
    """The roles of a table's columns: those that the user named, then by header, then by content.

    Args:
        table: its columns.
        config: the user's options.
        reads: the roles that will be read. Pairs of texts are told apart only where `text_2` is among them.
        texts: headers of the texts that come before all others, with spaces between.

    Raises:
        SourceError: a named column is not there, or several columns could be the texts.
    """
    found = {role: named for role in column_names() if (named := config.columns_named(role))}
    for role, headers in found.items():
        for header in headers:
            named_column(table.name, table.names, role, header)
    search = _Search(table, found, config.image_root or table.folder)
    # Bytes in a column that is not called after sounds are images.
    for role in (*column_names(Sounds), *column_names(Images)):
        search.add(role, search.file(role, by_content=role in MAIN))
    paired = "text_2" in reads or "text_2" in found
    if paired:
        for role in ("text_2", "text_3"):
            search.add(role, search.pair_header(role))
    likely = f"{texts} {column_of('text').headers}"
    if "text_2" in found:
        likely = f"{texts} {column_of('text').pair_headers} {likely}"
    search.add("text", *search.texts(likely.split()))
    others = [role for role in column_names() if role != "text" and role not in _AFTER_TEXT]
    search.by_headers(role for role in others if role in reads)
    search.add("text", *search.sentences())
    search.by_headers([*_AFTER_TEXT, *others])
    scored = any(plain_name(name) in column_of("score").headers.split() for name in table.names)
    apart = scored and not paired and not found.keys() & set(MAIN) and len(found.get("text", ())) > 1
    return Roles(found, apart, search.free_texts(likely.split()))


def named_column(where: str, names: Sequence[str], role: str, name: str | None) -> str | None:
    """The column that the user named for a role, if any.

    Args:
        where: what has the columns, for the message.
        names: all columns there are.
        role: what the column is wanted for.
        name: the column's name; None where the user named none.

    Raises:
        SourceError: there is no such column.
    """
    if name is None or name in names:
        return name
    there = "; ".join(filter(None, [first_names(names), closest(name, names)]))
    raise SourceError(f"{where}: no column {name!r} ({flag('data', f'{role}_column')}); it has {there}")


class _Search:
    """Looks for roles among the columns that have none yet."""

    def __init__(self, table: Table, found: dict[str, tuple[str, ...]], root: str) -> None:
        self._table, self._found, self._root = table, found, root

    def add(self, role: str, *headers: str | None) -> None:
        """Give a role to columns, unless it has some already."""
        named = tuple(header for header in headers if header is not None)
        if named:
            self._found.setdefault(role, named)

    def _free(self) -> list[str]:
        used = {header for headers in self._found.values() for header in headers}
        return [name for name in self._table.names if name not in used]

    def _matches(self, headers: Sequence[str]) -> list[str]:
        """Free columns of these headers, the likeliest first."""
        free = self._free()
        return [name for header in headers for name in free if plain_name(name) == header]

    def by_header(self, role: str) -> str | None:
        """The likeliest column by header alone."""
        matches = self._matches(column_of(role).headers.split())
        if role == "split":  # such as "flickr8k_split"
            matches += [name for name in self._free() if plain_name(name).endswith("_split")]
            matches = [name for name in matches if self._holds_splits(name)]
        return next(iter(matches), None)

    def pair_header(self, role: str) -> str | None:
        """The likeliest column of a pair's or triplet's further text.

        A numbered one among more than a triplet has (caption_1 to caption_5) is one of many texts of a row.
        """
        name = self.by_header(role)
        numbered = re.fullmatch(r"(.*?_?)\d", plain_name(name or ""))
        if numbered is None:
            return name
        there = {plain_name(other) for other in self._table.names}
        third, fourth = (f"{numbered[1]}{number}" for number in (3, 4))
        of_triplets = third in column_of("text_3").headers.split()
        return None if fourth in there or (third in there and not of_triplets) else name

    def by_headers(self, roles: Iterable[str]) -> None:
        """Give each of these roles to its likeliest column."""
        for role in roles:
            self.add(role, self.by_header(role))

    def _holds_splits(self, name: str) -> bool:
        """A column called "subset" or "split" may hold anything; parts of the data are few and short."""
        values = self._table.head(name)
        return all(isinstance(value, str) and len(value) <= 40 for value in values if not is_missing(value))

    def file(self, role: str, *, by_content: bool) -> str | None:
        """The likeliest column of images or sounds."""
        table, free = self._table, self._free() if by_content else []
        looks = looks_like_audio_path if role == "audio" else looks_like_image_path
        candidates = [
            name
            for name in self._matches(column_of(role).headers.split())
            if name in table.binary or any(map(looks, table.head(name)))
        ]
        candidates += [name for name in free if name in table.binary and role != "audio"]
        candidates += [name for name in free if self._share_of_paths(name, looks) > 0.5]
        return min(candidates, key=lambda name: self._unlikeliness(name, looks), default=None)

    def _share_of_paths(self, name: str, looks: Callable[[Any], bool]) -> float:
        values = [value for value in self._table.head(name) if value and not is_missing(value)]
        return sum(map(looks, values)) / max(1, len(values))

    def _unlikeliness(self, name: str, looks: Callable[[Any], bool]) -> int:
        """0 for a column of existing files or of bytes, 2 for addresses on the network."""
        if name in self._table.binary:
            return int(not is_image_name(name))
        paths = [value for value in self._table.head(name) if looks(value)]
        if any("://" in path for path in paths):
            return 2
        return int(not any(os.path.isfile(os.path.join(self._root, path.strip())) for path in paths))

    def texts(self, headers: Sequence[str]) -> tuple[str, ...]:
        """The columns of texts by header, the likeliest first; several where they are numbered."""
        for name in self.free_texts(headers):
            return (name, *self._numbered(plain_name(name), but=name))
        return self._numbered()

    def free_texts(self, headers: Sequence[str]) -> tuple[str, ...]:
        """The free columns of these headers that hold texts."""
        return tuple(dict.fromkeys(filter(self._is_text, self._matches(headers))))

    def _numbered(self, base: str = "", *, but: str = "") -> tuple[str, ...]:
        """The free columns of texts with numbered headers: caption_1, caption.2, caption3."""
        return tuple(
            name
            for name in self._free()
            if name != but
            and _NUMBERED.fullmatch(plain_name(name))
            and plain_name(name).startswith(base)
            and self._is_text(name)
        )

    def sentences(self) -> tuple[str, ...]:
        """The column whose cells read like sentences, where nothing else is the text."""
        names = [] if "text" in self._found else self._free()
        sentences = [name for name in names if self._reads_like_sentences(name)]
        if len(sentences) > 1:
            raise SourceError(
                f"{self._table.name}: several columns hold sentences ({first_names(sentences)}); "
                "say which to learn from with --data.text-column (several, with commas, when they mean the "
                f"same){self._table.hint}"
            )
        return tuple(sentences)

    def _is_text(self, name: str) -> bool:
        if name in self._table.binary:
            return False
        values = [value for value in self._table.head(name) if not is_missing(value)]
        return not values or any(_flat(value) is not None for value in values)

    def _reads_like_sentences(self, name: str) -> bool:
        """Mostly distinct, and mostly of several words or, as Chinese has no spaces, six characters."""
        if name in self._table.binary:
            return False
        values = [text for text in map(_flat, self._table.head(name)) if text]
        wordy = [
            text for text in values if text.strip().count(" ") >= 2 or sum(ord(c) > 0x2E80 for c in text) >= 6
        ]
        return len(values) > 0 and len(wordy) > len(values) / 2 and len(set(values)) > len(values) / 3


def _flat(value: Any) -> str | None:
    """The cell's text, of a list the first one, None where it holds none."""
    if isinstance(value, (list, tuple)):
        value = value[0] if value else None
    return value if isinstance(value, str) else None
