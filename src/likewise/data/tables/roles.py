"""Recognising what the columns of a table mean, by their names first and by what is in them second."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from likewise.data.config import DataConfig
from likewise.data.tables.names import IMAGE_HEADERS, is_missing, looks_like_image_path, plain_name
from likewise.data.tables.table import Table
from likewise.errors import SourceError
from likewise.messages import closest, first_names

__all__ = ["ROLES", "Columns", "listed_texts", "named_column", "recognise"]

_NAMES = {
    "image": IMAGE_HEADERS,
    "text": ("caption", "captions", "text", "texts", "sentence", "sentences", "description", "descriptions",
             "title", "alt_text", "alt", "txt", "raw", "report", "hypothesis", "question",
             "标题", "描述", "文本", "说明"),
    "label": ("label", "labels", "class", "class_name", "category", "target", "fine_label", "cls",
              "标签", "类别"),
    "group": ("group", "group_id", "image_id", "photo_id", "img_id"),
    "split": ("split", "subset", "partition"),
    "domain": ("domain",),
    "id": ("id", "uid", "key", "record_id"),
}  # fmt: skip
ROLES = tuple(_NAMES)
"""What a column can be; an option names the column of each."""

_NUMBERED = re.compile(r"(?:caption|text|sentence|description|sent)_?\d+")
_SCORES = {"score", "similarity", "similarity_score", "gold_score"}


@dataclass(frozen=True, kw_only=True)
class Columns:
    """Which column plays which role.

    Attributes:
        texts: columns whose contents are captions of the same image (or texts that mean the same).
        apart: the texts of a row do NOT mean the same (scored sentence pairs): each is a record of its own.
    """

    image: str | None = None
    texts: tuple[str, ...] = ()
    apart: bool = False
    label: str | None = None
    group: str | None = None
    split: str | None = None
    domain: str | None = None
    id: str | None = None

    def roles(self) -> dict[str, str]:
        """Role to column names, those that are played."""
        single = {role: getattr(self, role) for role in ("image", "label", "group", "split", "domain", "id")}
        found = {role: name for role, name in single.items() if name is not None}
        return found | ({"text": ", ".join(self.texts)} if self.texts else {})


def recognise(table: Table, config: DataConfig) -> Columns:
    """The roles of a table's columns: those the user named, then by name, then by content.

    Raises:
        SourceError: a named column is not there, or several columns could be the texts.
    """
    taken = {
        role: named_column(table.name, table.names, role, getattr(config, f"{role}_column"))
        for role in ROLES
        if role != "text"
    }
    texts = config.text_columns
    for name in texts:
        named_column(table.name, table.names, "text", name)
    used = {name for name in taken.values() if name is not None} | set(texts)
    taken["image"] = taken["image"] or _image_column(table, used)
    used.add(taken["image"] or "")
    texts = texts or _text_columns(table, used)
    used |= set(texts)
    for role in ("split", "label", "group", "domain", "id"):
        if taken[role] is None:
            taken[role] = _by_name(table, role, used)
            used.add(taken[role] or "")
    apart = (
        taken["image"] is None and len(texts) > 1 and any(plain_name(name) in _SCORES for name in table.names)
    )
    return Columns(texts=texts, apart=apart, **taken)


def named_column(where: str, names: Sequence[str], role: str, name: str | None) -> str | None:
    """The column the user named for a role, if any.

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
    raise SourceError(f"{where}: no column {name!r} (data.{role}_column); it has {there}")


def _by_name(table: Table, role: str, used: set[str]) -> str | None:
    free = [name for name in table.names if name not in used]
    for wanted in _NAMES[role]:
        for name in free:
            if plain_name(name) == wanted and not (role == "split" and not _holds_splits(table, name)):
                return name
    if role == "split":  # "flickr8k_split"
        ending = [name for name in free if plain_name(name).endswith("_split") and _holds_splits(table, name)]
        return ending[0] if ending else None
    return None


def _holds_splits(table: Table, name: str) -> bool:
    """A column called "set" or "split" may hold anything; parts of the data are few and short."""
    values = table.head(name)
    return all(isinstance(value, str) and len(value) <= 40 for value in values if not is_missing(value))


def _image_column(table: Table, used: set[str]) -> str | None:
    free = [name for name in table.names if name not in used]
    binary = [name for name in free if name in table.binary]
    for wanted in _NAMES["image"]:
        for name in free:
            if plain_name(name) == wanted and (
                name in binary or any(map(looks_like_image_path, table.head(name)))
            ):
                return name
    if binary:
        return binary[0]
    for name in free:
        values = [value for value in table.head(name) if value and not is_missing(value)]
        if values and sum(map(looks_like_image_path, values)) > len(values) / 2:
            return name
    return None


def _text_columns(table: Table, used: set[str]) -> tuple[str, ...]:
    free = [name for name in table.names if name not in used and name not in table.binary]
    for wanted in _NAMES["text"]:
        for name in free:
            if plain_name(name) == wanted and _is_text(table, name):
                return (name,)
    numbered = tuple(name for name in free if _NUMBERED.fullmatch(plain_name(name)) and _is_text(table, name))
    if numbered:
        return numbered
    sentences = [name for name in free if _reads_like_sentences(table, name)]
    if len(sentences) > 1:
        raise SourceError(
            f"{table.name}: several columns hold sentences ({first_names(sentences)}); "
            "say which to learn from with data.text_column (several, with commas, when they mean the same)"
            f"{table.hint}"
        )
    return tuple(sentences)


def _flat(value: Any) -> str | None:
    """The cell's text, of a list the first one, None where it holds none."""
    if isinstance(value, (list, tuple)):
        value = value[0] if value else None
    return value if isinstance(value, str) else None


def _is_text(table: Table, name: str) -> bool:
    values = [value for value in table.head(name) if not is_missing(value)]
    return not values or any(_flat(value) is not None for value in values)


def _reads_like_sentences(table: Table, name: str) -> bool:
    """Mostly distinct, and mostly of several words or, as Chinese has no spaces, six of its characters."""
    values = [text for text in map(_flat, table.head(name)) if text]
    wordy = [
        text for text in values if text.strip().count(" ") >= 2 or sum(ord(c) > 0x2E80 for c in text) >= 6
    ]
    return len(values) > 0 and len(wordy) > len(values) / 2 and len(set(values)) > len(values) / 3


def listed_texts(value: Any, separator: str | None) -> list[Any]:
    """The several texts of one cell: a list, one written as JSON or Python writes it, or parts between
    separators."""
    if is_missing(value):
        return []
    if isinstance(value, (list, tuple)):
        return list(value)
    if isinstance(value, str) and value.startswith(('["', "['")) and value.rstrip().endswith("]"):
        for read in (json.loads, ast.literal_eval):  # the latter runs no code; pandas writes such lists
            try:
                return list(read(value))
            except (ValueError, SyntaxError, MemoryError, RecursionError):
                continue
        return [value]
    if separator is not None and isinstance(value, str):
        return value.split(separator)
    return [value]
