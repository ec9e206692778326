"""`likewise report RUN [--data SOURCE]`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import tyro

from likewise.cli.files.output_paths import check_place
from likewise.data import DataConfig
from likewise.option_flags import parse_flags
from likewise.reporting import report
from likewise.runs.folder import RunFolder
from likewise.runs.open import OWN_DATA

__all__ = ["ReportCommand", "run"]


@dataclass(frozen=True, kw_only=True)
class ReportCommand:
    """Write a run's report: one HTML file that needs nothing else."""

    run: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="RUN")]
    """The run's folder."""

    data: DataConfig = field(default_factory=lambda: DataConfig(source=OWN_DATA))
    """Where the run's own data is now, if it has moved."""

    out: str | None = None
    """The file; report.html in the run's folder by default."""

    device: str = "auto"
    """auto, cpu, cuda, cuda:1, ..."""


def run(arguments: Sequence[str]) -> None:
    """Write the report and say where it is."""
    options = parse_flags(ReportCommand, arguments, prog="likewise report")
    folder = RunFolder.existing(options.run)
    file = folder.report if options.out is None else Path(options.out)
    check_place("--out", file, such_as=folder.report.name, inputs=())
    print(f"wrote {report(folder.path, file, device=options.device, data=options.data)}")
