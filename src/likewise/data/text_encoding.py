"""Bytes to text, and what of it is no text: lone surrogates, which can be neither printed nor saved."""

from __future__ import annotations

import codecs
import re
from collections.abc import Mapping

from likewise.errors import RecordError

__all__ = ["check_texts", "decoded", "is_text", "legible"]

_SURROGATES = re.compile("[\ud800-\udfff]")


def decoded(data: bytes, encoding: str) -> str:
    """The text without a byte-order mark; bytes that do not fit the encoding become lone surrogates."""
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        encoding = "utf-16"  # spreadsheets write these
    elif codecs.lookup(encoding).name == "utf-8":  # however it is spelled
        encoding = "utf-8-sig"
    try:
        return data.decode(encoding, errors="surrogateescape")
    except UnicodeDecodeError:  # an ASCII byte at fault, as where UTF-16 is cut short, cannot be escaped
        return data.decode(encoding, errors="replace").replace("\ufffd", "\udcff")


def is_text(value: str) -> bool:
    """Whether all of it is text. JSON spells lone surrogates too, as halves of a sign."""
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def check_texts(fields: Mapping[str, object]) -> None:
    """See that every string among the fields of a record is text.

    Raises:
        RecordError: one is not; the message has its name.
    """
    for name, value in fields.items():
        if isinstance(value, str) and not is_text(value):
            raise RecordError(f"wrong encoding: the {name} holds what is no valid text (see data.encoding)")


def legible(text: str) -> str:
    """The text, a replacement character for each lone surrogate in it."""
    return text if is_text(text) else _SURROGATES.sub("\ufffd", text)
