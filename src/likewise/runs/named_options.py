"""Settings from options by name: `training__steps=10` or `{"training.steps": 10}`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, get_type_hints

from likewise.errors import ConfigError
from likewise.messages import closest
from likewise.methods.base import Method
from likewise.runs.option_types import misfit
from likewise.runs.settings import Tables, default_settings

__all__ = ["named_tables"]


def named_tables(method: type[Method], options: Mapping[str, Any]) -> Tables:
    """Options by name as tables.

    Args:
        method: whose options.
        options: by section and name, with a dot or two underscores between them.

    Raises:
        ConfigError: there is no such option, or its value is of another type.
    """
    sections = default_settings(method, "scenes").sections()
    known = {
        f"{name}.{key}": hint
        for name, section in sections.items()
        for key, hint in get_type_hints(type(section)).items()
    }
    tables: Tables = {}
    for given, value in options.items():
        name = given if "." in given else given.replace("__", ".", 1)
        if name not in known:
            hint = closest(name, known) or f"the sections are {', '.join(sections)}."
            raise ConfigError(f"{method.name} has no option {given!r}; {hint}")
        if expected := misfit(known[name], value):
            raise ConfigError(f"{given} is {value!r}; expected {expected}.")
        section, _, key = name.partition(".")
        tables.setdefault(section, {})[key] = tuple(value) if isinstance(value, list) else value
    return tables
