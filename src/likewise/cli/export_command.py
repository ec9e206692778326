"""`likewise export MODEL --format FORMAT --out FOLDER`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, make_dataclass
from typing import Annotated, Any

import tyro

from likewise.export.registry import export, formats
from likewise.messages import printed_line
from likewise.option_flags import parse_flags
from likewise.runs.open import open_model

__all__ = ["ExportCommand", "run"]


@dataclass(frozen=True, kw_only=True)
class ExportCommand:
    """Write a trained model in another library's format."""

    model: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="MODEL")]
    """A run's folder, a model folder or a hub name."""

    out: str
    """A folder that does not exist or is empty."""


def _command_type() -> Any:
    """The command's dataclass, with all formats in the help."""
    lines = "; ".join(f"{name}: {one.summary}" for name, one in formats().items())
    words = tyro.conf.arg(help=f"{lines}.")
    return make_dataclass(
        "ExportCommand",
        [("format", Annotated[str, words])],
        bases=(ExportCommand,),
        namespace={"__doc__": ExportCommand.__doc__},
        frozen=True,
        kw_only=True,
    )


def run(arguments: Sequence[str]) -> None:
    """Open the model and write it."""
    options = parse_flags(_command_type(), arguments, prog="likewise export")
    folder = export(open_model(options.model, "cpu"), options.out, format=options.format)
    print(f"wrote {printed_line(folder)} ({options.format})")
