"""Type checks of option values that come from a file or from Python."""

from __future__ import annotations

import dataclasses
import math
import os
import types
from collections.abc import Sequence
from itertools import repeat
from numbers import Integral, Real
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from likewise.data.text_encoding import is_text
from likewise.errors import ConfigError

__all__ = ["checked_values", "misfit"]

_IN_WORDS: dict[Any, str] = {
    bool: "true or false",
    int: "a whole number",
    float: "a finite number",
    str: "a text",
}


def checked_values(section: str, config: Any) -> Any:
    """Check that each option of a section has a value of its type.

    Args:
        section: its name.
        config: a dataclass of options.

    Returns:
        The options, with numbers of other libraries as Python's and paths as text, which a file can hold.

    Raises:
        ConfigError: the first value that does not fit, and what was expected.
    """
    hints = get_type_hints(type(config))
    plain = {}
    for field in dataclasses.fields(config):
        value = getattr(config, field.name)
        expected = misfit(hints[field.name], value)
        if expected is not None:
            raise ConfigError(f"{section}.{field.name} is {value!r}; expected {expected}.")
        plain[field.name] = _plain(value)
        if isinstance(plain[field.name], str) and not is_text(plain[field.name]):
            raise ConfigError(
                f"{section}.{field.name} is {value!r}, which is no UTF-8, so no file can hold it; rename it."
            )
    return dataclasses.replace(config, **plain)


def _plain(value: Any) -> Any:
    if isinstance(value, (tuple, list)):
        return tuple(map(_plain, value))
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    if isinstance(value, bool) or not isinstance(value, Real):
        return value
    if isinstance(value, Integral):
        return int(value)
    return float(value)


def misfit(hint: Any, value: Any) -> str | None:
    """The expected type in words if a value does not fit it, else None.

    Args:
        hint: the type of an option: a plain one, a Literal, a tuple, or a union of these.
        value: any. Numbers of other libraries fit, and paths fit a text.
    """
    origin, parts = get_origin(hint), get_args(hint)
    if origin is Literal:
        return None if value in parts else " or ".join(map(repr, parts))
    if origin in (Union, types.UnionType):
        expected = [misfit(part, value) for part in parts if part is not type(None)]
        none_fits = value is None and len(expected) < len(parts)
        return None if none_fits or None in expected else " or ".join(map(str, expected))
    if origin is tuple:
        return _misfit_of_several(parts, value)
    fits = {
        bool: isinstance(value, bool),
        int: isinstance(value, Integral) and not isinstance(value, bool),
        float: isinstance(value, Real) and not isinstance(value, bool) and math.isfinite(value),
        str: isinstance(value, (str, os.PathLike)),
    }
    return None if fits.get(hint, True) else _IN_WORDS[hint]


def _misfit_of_several(parts: Sequence[Any], value: Any) -> str | None:
    """`misfit` for a tuple's types; a TOML list fits too."""
    any_number = len(parts) == 2 and parts[1] is ...
    if not isinstance(value, (tuple, list)) or not (any_number or len(value) == len(parts)):
        return "a list" if any_number else f"a list of {len(parts)}"
    kinds = repeat(parts[0]) if any_number else parts
    expected = (misfit(kind, one) for kind, one in zip(kinds, value, strict=False))
    return next((f"in it {words}" for words in expected if words is not None), None)
