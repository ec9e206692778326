"""`likewise export MODEL --format FORMAT --out FOLDER [--push OWNER/NAME]`."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass, field, make_dataclass
from typing import Annotated, Any

import tyro

from likewise.data import DataConfig
from likewise.data.columns import OPTIONAL, Needs
from likewise.errors import ConfigError
from likewise.export.folder import export
from likewise.export.hub import check_hub_name, push
from likewise.export.probes import NUM_PROBES, Probes, dataset_probes
from likewise.export.registry import formats
from likewise.messages import printed_line
from likewise.model.model import Model
from likewise.option_flags import parse_flags
from likewise.runs.open import open_data, open_model

__all__ = ["ExportCommand", "run"]


GENERATED = "generated"
"""The default of `--data`."""


@dataclass(frozen=True, kw_only=True)
class ExportCommand:
    """Write a trained model in another library's format, and check that it gives the same vectors."""

    model: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="MODEL")]
    """A run's folder, a model folder or a hub name."""

    out: str
    """A folder that does not exist or is empty."""

    data: DataConfig = field(default_factory=lambda: DataConfig(source=GENERATED))
    """A source whose first twenty images and texts are compared; by default generated ones are."""

    push: str | None = None
    """A repository of the Hugging Face hub, OWNER/NAME, to upload the folder to; one that does not exist is
    made, private at first."""


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
    """Open the model, write it, compare, upload."""
    options = parse_flags(_command_type(), arguments, prog="likewise export")
    if options.push is not None:
        check_hub_name(options.push)
    if options.data.source == GENERATED and options.data != DataConfig(source=GENERATED):
        raise ConfigError("options of --data need --data SOURCE; generated images and texts have none.")
    model = open_model(options.model, "cpu")
    probes = None if options.data.source == GENERATED else _probes(model, options)
    exported = export(model, options.out, format=options.format, probes=probes)
    for note in exported.notes:
        print(printed_line(f"note: {note}"), file=sys.stderr)
    apart = ", ".join(
        f"{NUM_PROBES} {what} differ by {value:.1e} at most" for what, value in exported.differences.items()
    )
    print(printed_line(f"wrote {exported.folder} ({options.format}): {apart}"))
    if options.push is not None:
        print(printed_line(f"uploaded to {push(exported.folder, options.push)}"))


def _probes(model: Model, options: Any) -> Probes:
    read = [name for name in ("image", "text") if f"encode_{name}s" in model.abilities]
    needs = Needs(*read[:1], **dict.fromkeys(read[1:], OPTIONAL))
    splits, _ = open_data(model, options.model, options.data, needs=needs)
    return dataset_probes(model, splits.train if splits.validation is None else splits.validation)
