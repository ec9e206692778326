"""Bytes to text. Lone surrogates mark what is no valid text: they can be neither printed nor saved."""

from __future__ import annotations

import codecs
import re
from collections.abc import Mapping

from likewise.errors import RecordError
from likewise.messages import printable

__all__ = ["check_texts", "decoded", "is_text", "legible", "split_lines"]

_SURROGATES = re.compile("[\ud800-\udfff]")


def decoded(data: bytes, encoding: str) -> str:
    """The text without a byte-order mark; bytes that do not fit the encoding become lone surrogates."""
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        encoding = "utf-16"  # spreadsheets write these
    elif codecs.lookup(encoding).name == "utf-8":  # however it is spelled
        encoding = "utf-8-sig"
    try:
        return data.decode(encoding, errors="surrogateescape")
    except UnicodeDecodeError:  # an ASCII byte, as in truncated UTF-16, cannot be escaped
        return data.decode(encoding, errors="replace").replace("\ufffd", "\udcff")


def split_lines(text: str) -> list[str]:
    """The lines of a text, ended by LF, CR LF or CR."""
    # str.splitlines would also split at form feeds and the like.
    return text.replace("\r\n", "\n").replace("\r", "\n").split("\n")


def is_text(value: str) -> bool:
    """Whether a string is valid text. JSON too can spell lone surrogates, half a character each."""
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def check_texts(fields: Mapping[str, object]) -> None:
    """Raise RecordError, naming the field, if a string among a record's fields is no valid text."""
    for name, value in fields.items():
        if isinstance(value, str) and not is_text(value):
            raise RecordError(f"wrong encoding: the {name} holds what is no valid text (see data.encoding)")


def legible(text: str) -> str:
    """The text as it can be printed and saved: lone surrogates replaced, control characters escaped."""
    return printable(text if is_text(text) else _SURROGATES.sub("\ufffd", text))
