"""Formats by name. A new one is a file in this folder with a function under `@export_format(name)`."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import NamedTuple

from likewise.model.model import Model

__all__ = ["Code", "ExportFormat", "Written", "Writer", "export_format", "formats"]


class Code(NamedTuple):
    """Python that opens the folder named `folder`, and defines `encode_images` (of PIL images) or
    `encode_texts` (of texts) or both, each giving (B, D) unit vectors.

    Attributes:
        imports: its first lines.
        body: the rest, in blocks.
    """

    imports: Collection[str]
    body: Sequence[str]

    def defines(self, name: str) -> bool:
        """Whether it has that function."""
        return any(f"def {name}(" in block for block in self.body)

    def text(self, folder: str) -> str:
        """The whole, for a folder."""
        blocks = [block.strip("\n") for block in self.body]
        return "\n".join([*sorted(set(self.imports), key=_order), "", f"folder = {folder!r}", *blocks])


def _order(line: str) -> tuple[bool, str]:
    return line.startswith("from"), line.lower()


class Written(NamedTuple):
    """What a writer wrote, and how it is read.

    Attributes:
        usage: what the model card shows.
        library: the name of the format's library on the hub.
        tags: on the hub.
        notes: sentences about parts of the model that are not in the folder.
        reading: what the check runs in place of `usage`, where that needs what may not be installed.
    """

    usage: Code
    library: str
    tags: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    reading: Code | None = None


Writer = Callable[[Model, Path], Written]
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
