"""Parts of messages for people."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence

__all__ = ["closest", "first_line", "first_names"]


def closest(name: str, known: Iterable[str]) -> str:
    """The hint "did you mean 'clip'?", with the known name that is closest; empty where none is close."""
    near = difflib.get_close_matches(name, list(known), n=1)
    return f"did you mean {near[0]!r}?" if near else ""


def first_line(error: BaseException) -> str:
    """The first line of another library's error; the name of its class where it has no message."""
    return next(iter(str(error).splitlines()), "") or type(error).__name__


def first_names(names: Sequence[str], *, most: int = 10) -> str:
    """The first of many names, and how many more there are."""
    more = f" and {len(names) - most:,} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more
