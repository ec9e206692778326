"""The switch of the hand-tuned layers, read when an encoder is built."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from likewise.errors import ConfigError

__all__ = ["disabled", "enabled"]

_VARIABLE = "LIKEWISE_FAST"
_disabled = ContextVar("fast layers disabled", default=False)


def enabled() -> bool:
    """Whether encoders built now get the hand-tuned layers.

    Raises:
        ConfigError: the environment variable is neither 0 nor 1.
    """
    value = os.environ.get(_VARIABLE, "1")
    if value not in ("0", "1"):
        raise ConfigError(f"the environment variable {_VARIABLE} is {value!r}; expected 0 or 1.")
    return value == "1" and not _disabled.get()


@contextmanager
def disabled() -> Iterator[None]:
    """Encoders built inside consist of transformers' own modules."""
    token = _disabled.set(True)
    try:
        yield
    finally:
        _disabled.reset(token)
