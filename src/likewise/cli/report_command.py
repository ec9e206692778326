"""`likewise report RUN`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from likewise.cli.opened import open_model, open_splits
from likewise.reporting.report import write_report
from likewise.training.gather import gather_report_inputs
from likewise.training.run import RunFolder

__all__ = ["ReportCommand", "report", "run"]


@dataclass(frozen=True, kw_only=True)
class ReportCommand:
    """Write a run's report: one HTML file that needs nothing else."""

    run: Annotated[str, tyro.conf.Positional]
    """The run's folder."""

    out: str | None = None
    """The file; report.html in the run's folder by default."""

    device: str = "auto"
    """auto, cpu, cuda, cuda:1, ..."""


def run(arguments: Sequence[str]) -> None:
    """Write the report and say where it is."""
    options = tyro.cli(ReportCommand, args=list(arguments), prog="likewise report")
    print(f"wrote {report(options.run, out=options.out, device=options.device)}")


def report(path: str | Path, *, out: str | Path | None = None, device: str = "auto") -> Path:
    """Write a run's report.

    Args:
        path: the run's folder.
        out: the file; report.html in the run's folder when None.
        device: where the held-out part is embedded.

    Returns:
        Where it is.
    """
    folder = RunFolder.existing(path)
    model = open_model(str(path), device)
    splits = open_splits(model, str(path))
    file = Path(out) if out is not None else folder.report
    write_report(gather_report_inputs(folder, model, splits), file)
    return file
