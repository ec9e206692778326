"""Finds the methods: every class that derives from `Method` in a module of `likewise.methods`.

A file is all it takes to add a method; nothing else lists them.
"""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from functools import cache

import likewise.methods as package
from likewise.errors import ConfigError
from likewise.messages import closest
from likewise.methods.base import Method
from likewise.methods.on_sounds import SOUND_METHODS, SUFFIX, on_sounds

__all__ = ["find_method", "known_method", "methods"]


def methods() -> dict[str, type[Method]]:
    """All methods by name, in alphabetical order."""
    return _methods(tuple(package.__path__))


@cache
def _methods(path: tuple[str, ...]) -> dict[str, type[Method]]:
    found = {}
    for module_info in pkgutil.walk_packages(path, f"{package.__name__}."):
        module = importlib.import_module(module_info.name)
        for value in vars(module).values():
            is_method = isinstance(value, type) and issubclass(value, Method)
            if is_method and value.__module__ == module.__name__ and not inspect.isabstract(value):
                found[value.name] = value
    return dict(sorted(found.items()))


def known_method(name: str | None) -> type[Method] | None:
    """The method of that name; None where there is none."""
    try:
        return None if name is None else find_method(name)
    except ConfigError:
        return None


def find_method(name: str) -> type[Method]:
    """The method of that name; NAME-audio is a method on sounds (`likewise.methods.on_sounds`).

    Raises:
        ConfigError: there is none; the message names the nearest.
    """
    known = methods()
    if name in known:
        return known[name]
    base = name.removesuffix(SUFFIX)
    if base != name and base in SOUND_METHODS and base in known:
        return on_sounds(known[base])
    hint = closest(name, known) or f"there are {', '.join(known)}."
    raise ConfigError(f"no method is called {name!r}; {hint}")
