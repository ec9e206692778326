"""Formats by name. A new one is a file in this folder with a function under `@export_format(name)`."""

from __future__ import annotations

import importlib
import pkgutil
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from likewise.errors import ConfigError, ModelError
from likewise.messages import closest, first_line, first_names
from likewise.model.model import Model

__all__ = ["ExportFormat", "Writer", "export", "export_format", "formats"]

Writer = Callable[[Model, Path], None]
"""Writes a model into an empty folder."""


class ExportFormat(NamedTuple):
    """One format.

    Attributes:
        name: on the command line.
        summary: one line for the help.
        write: the writer.
    """

    name: str
    summary: str
    write: Writer


_REGISTERED: dict[str, ExportFormat] = {}


def export_format(name: str, summary: str) -> Callable[[Writer], Writer]:
    """Register a writer."""

    def register(write: Writer) -> Writer:
        other = _REGISTERED.setdefault(name, ExportFormat(name, summary, write))
        if other.write.__module__ != write.__module__:
            raise ValueError(f"two formats {name!r}: {other.write.__module__} and {write.__module__}")
        return write

    return register


def formats() -> dict[str, ExportFormat]:
    """All formats by name: every module of `likewise.export` is imported, and registers its own."""
    import likewise.export as package

    for module in pkgutil.iter_modules(package.__path__, f"{package.__name__}."):
        importlib.import_module(module.name)
    return dict(sorted(_REGISTERED.items()))


def export(model: Model, out: str | Path, *, format: str) -> Path:
    """Write a model in another library's format.

    Args:
        model: any model; a format may need certain abilities.
        out: a folder that does not exist or is empty.
        format: a name of `formats()`.

    Returns:
        The folder.

    Raises:
        ConfigError: there is no such format, or the folder holds files.
        ModelError: the format cannot hold this model, or the folder cannot be written.
    """
    known, folder = formats(), Path(out)
    if format not in known:
        hint = closest(format, known) or f"there are {', '.join(known)}."
        raise ConfigError(f"no format is called {format!r}; {hint}")
    if folder.exists() and not folder.is_dir():
        raise ConfigError(f"--out {folder} is a file; name a folder.")
    if folder.is_dir() and (others := sorted(path.name for path in folder.iterdir())):
        raise ConfigError(f"--out {folder} holds {first_names(others, most=3)}; name another folder.")
    whole = folder.resolve()  # "." has no name
    beside = whole.with_name(f".{whole.name}.writing")
    shutil.rmtree(beside, ignore_errors=True)
    try:
        beside.mkdir(parents=True)
        known[format].write(model, beside)
        if folder.is_dir():  # it stays: somebody may stand in it
            for part in beside.iterdir():
                part.rename(whole / part.name)
        else:
            beside.rename(whole)
    except OSError as error:
        raise ModelError(f"{folder} cannot be written: {first_line(error)}") from error
    finally:
        shutil.rmtree(beside, ignore_errors=True)
    return folder
