"""What a cell of a table holds: texts, a list, a name."""

from __future__ import annotations

import ast
import contextlib
import json
import math
import re
from collections.abc import Sequence
from typing import Any

from likewise.data.config import DataConfig
from likewise.data.tables.names import is_missing
from likewise.data.text_encoding import check_texts
from likewise.errors import RecordError

__all__ = [
    "EMPTY_TEXT",
    "clean_text",
    "clean_texts",
    "is_blank",
    "listed_texts",
    "name_in",
    "number_in",
    "unpacked",
]

EMPTY_TEXT = "empty caption"
_WHOLE_NUMBER = re.compile(r"([+-]?\d+)\.0+")
_LITERAL = r"""(?:'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*")"""
_LISTED = re.compile(rf"\[\s*{_LITERAL}(?:(?:\s*,\s*|\s+){_LITERAL})*\s*,?\s*\]", re.DOTALL)


def is_blank(cell: Any) -> bool:
    """Whether a cell holds nothing but space."""
    return is_missing(cell) or (isinstance(cell, str) and not cell.strip())


def name_in(cell: Any) -> str | None:
    """A cell as a name, without space around it; None if it is blank.

    3, 3.0 and "3.0" are one name: a single empty cell makes floats of a column of integers.
    """
    if is_missing(cell):
        return None
    if isinstance(cell, float) and cell.is_integer():
        cell = int(cell)
    text = str(cell).strip()
    whole = _WHOLE_NUMBER.fullmatch(text)
    return (text if whole is None else whole[1]) or None


def number_in(cell: Any) -> float:
    """A cell as a finite number. Raises RecordError where it is none."""
    try:
        number = float(cell)
    except (TypeError, ValueError):
        raise RecordError(f"a number was expected, got {cell!r}"[:200]) from None
    if not math.isfinite(number):
        raise RecordError(f"a number was expected, got {cell!r}")
    return number


def unpacked(cell: Any) -> Any:
    """A cell; a list or dict where it is one written as JSON or as Python writes it."""
    if isinstance(cell, str) and cell.strip()[:1] in ("[", "{"):
        for read in (json.loads, ast.literal_eval):  # the latter runs no code; pandas writes such lists
            with contextlib.suppress(ValueError, SyntaxError, MemoryError, RecursionError):
                return read(cell.strip())
    return cell


def listed_texts(cell: Any, separator: str | None) -> list[Any]:
    """The texts of one cell: a list, one written as JSON or Python writes it, or parts between separators."""
    if is_missing(cell):
        return []
    if isinstance(cell, str) and (found := _text_list(cell.strip())) is not None:
        return found
    if isinstance(cell, (list, tuple)):
        return list(cell)
    if separator is not None and isinstance(cell, str):
        return list(cell.split(separator))
    return [cell]


def _text_list(cell: str) -> list[str] | None:
    """The strings of a list as JSON, Python or numpy writes it; None if the cell is no such list.

    numpy puts no commas between the strings, which Python would read as one string.
    """
    if not cell.startswith("["):
        return None
    with contextlib.suppress(ValueError, RecursionError):
        found = json.loads(cell)
        return found if isinstance(found, list) and all(isinstance(t, str | None) for t in found) else None
    if _LISTED.fullmatch(cell) is None:
        return None
    with contextlib.suppress(ValueError, SyntaxError):
        return [str(ast.literal_eval(literal)) for literal in re.findall(_LITERAL, cell, re.DOTALL)]
    return None


def clean_text(text: Any, config: DataConfig) -> str:
    """The text without space around it. Raises RecordError where it is blank, too long or no valid text."""
    if is_blank(text):
        raise RecordError(EMPTY_TEXT)
    cleaned = str(text).strip()
    if len(cleaned) > config.max_text_characters:
        limit = f"{len(cleaned):,} characters (data.max_text_characters is {config.max_text_characters:,})"
        raise RecordError(f"caption too long: {limit}; an unclosed quotation mark?")
    check_texts({"caption": cleaned})
    return cleaned


def clean_texts(texts: Sequence[Any], config: DataConfig) -> tuple[list[str], list[tuple[int, str]]]:
    """The usable texts of one record; number and reason of each of the others.

    A blank text beside a usable one is ignored: a table has as many columns as the record with most captions
    needs. Where none is usable, the first blank one stands for all.
    """
    usable: list[str] = []
    faults: list[tuple[int, str]] = []
    blank: list[int] = []
    for number, text in enumerate(texts):
        if is_blank(text):
            blank.append(number)
            continue
        try:
            usable.append(clean_text(text, config))
        except RecordError as error:
            faults.append((number, str(error)))
    if blank and not usable:
        faults.append((blank[0], EMPTY_TEXT))
    return usable, sorted(faults)
