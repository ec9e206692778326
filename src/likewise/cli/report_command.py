"""`likewise report RUN [--data SOURCE]`."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import tyro

from likewise.cli.output_paths import check_place
from likewise.data import DataConfig
from likewise.option_flags import parse_flags
from likewise.reporting.collect import gather_report_inputs
from likewise.reporting.report import write_report
from likewise.runs.folder import RunFolder
from likewise.runs.open import OWN_DATA, open_model, open_own_splits

__all__ = ["ReportCommand", "report", "run"]


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
    print(f"wrote {report(options.run, out=options.out, device=options.device, data=options.data)}")


def report(
    path: str | Path, *, out: str | Path | None = None, device: str = "auto", data: DataConfig | None = None
) -> Path:
    """Write a run's report.

    Args:
        path: the run's folder.
        out: the file; report.html in the run's folder when None.
        device: where the held-out part is embedded.
        data: where the run's own data is; where training found it when None.

    Returns:
        Where it is.

    Raises:
        ConfigError: `out` is a folder, or a place where nothing can be written.
    """
    folder = RunFolder.existing(path)
    file = Path(out) if out is not None else folder.report
    check_place("--out", file, such_as=folder.report.name)
    model = open_model(str(path), device)
    splits = open_own_splits(model, str(path), data)
    if folder.read_json(folder.data).get("fingerprint") not in (None, splits.summary["fingerprint"]):
        print(
            f"warning: {splits.summary['source']} is not as it was when training read it, so pictures and "
            "texts that the report shows as held out may have been trained on.",
            file=sys.stderr,
            flush=True,
        )
    write_report(gather_report_inputs(folder, model, splits), file)
    return file
