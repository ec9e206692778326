"""Warnings of the library as lines for people: each once, without file and line."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

from likewise.messages import printed_line

__all__ = ["plain_warnings"]


@contextmanager
def plain_warnings() -> Iterator[None]:
    """Inside, warnings are kept, and printed at the end."""
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always", UserWarning)
        yield
    for warning in dict.fromkeys(str(one.message) for one in said):
        print(f"warning: {printed_line(warning)}.", file=sys.stderr)
