"""Parts of messages for people."""

from __future__ import annotations

import difflib
import re
import sys
import warnings
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

__all__ = [
    "closest",
    "counted",
    "first_line",
    "first_names",
    "flag",
    "plain_warnings",
    "printable",
    "printed_line",
    "without_folders",
]

# What would move a terminal's cursor, color it, or reverse its text.
_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069]")
_MOST_OF_NAME = 80
_MOST_OF_LINE = 2000


def printable(text: str, *, most: int | None = None) -> str:
    """The text with control characters escaped, cut to so many characters."""
    cut = text if most is None or len(text) <= most else f"{text[:most]}..."
    return _CONTROL.sub(lambda found: found[0].encode("unicode_escape").decode(), cut)


def printed_line(text: object) -> str:
    """What is printed of a message that may quote data or file names: one line of bounded length."""
    return printable(str(text), most=_MOST_OF_LINE)


def flag(section: str, option: str) -> str:
    """An option as one pastes it on the command line, such as `--data.label-column`."""
    return "--data" if (section, option) == ("data", "source") else f"--{section}.{option}".replace("_", "-")


def closest(name: str, known: Iterable[str]) -> str:
    """The hint "did you mean 'clip'?", with the known name that is closest; empty where none is close."""
    near = difflib.get_close_matches(name, list(known), n=1)
    return f"did you mean {near[0]!r}?" if near else ""


def counted(number: int, noun: str) -> str:
    """ "1 row", "2,000 rows"."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def first_line(error: BaseException) -> str:
    """The first line of another library's error; the name of its class where it has no message."""
    return next(iter(str(error).splitlines()), "") or type(error).__name__


def first_names(names: Sequence[str], *, most: int = 10) -> str:
    """The first of many names, and how many more there are."""
    more = f" and {len(names) - most:,} more" if len(names) > most else ""
    return ", ".join(printable(name, most=_MOST_OF_NAME) for name in names[:most]) + more


def without_folders(value: Any) -> Any:
    """Absolute paths cut to their names, in nested values too: reports and model cards are shared."""
    if isinstance(value, dict):
        return {name: without_folders(item) for name, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [without_folders(item) for item in value]
    if isinstance(value, str) and Path(value.removeprefix("file://")).is_absolute():
        return Path(value).name
    return value


@contextmanager
def plain_warnings() -> Iterator[None]:
    """Inside, warnings are kept; they are printed at the end, each once, without file and line."""
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always", UserWarning)
        yield
    for warning in dict.fromkeys(str(one.message) for one in said):
        print(f"warning: {printed_line(warning)}.", file=sys.stderr)
