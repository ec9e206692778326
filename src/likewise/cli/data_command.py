"""`likewise data SOURCE`."""

from __future__ import annotations

import json as json_format
import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from likewise.cli.files.output_paths import check_place, why_not_there
from likewise.cli.files.source_tables import print_report
from likewise.data import DataConfig, Dataset
from likewise.data.remedies import FOLDER_OF_IMAGES
from likewise.data.source_report import SourceReport, inspect_source
from likewise.errors import ConfigError, DataError
from likewise.messages import printed_line
from likewise.methods.catalog import find_method
from likewise.option_flags import parse_flags, source_first
from likewise.reporting.sheets.contact_sheet import draw_contact_sheet
from likewise.views import ViewConfig

__all__ = ["DataCommand", "run"]

_USAGE = "usage: likewise data SOURCE [options]; likewise data --help lists them."
_SHEET_ROWS = 6
_IMAGE_FORMATS = (".png", ".jpg", ".jpeg", ".webp", ".gif", ".bmp", ".tif", ".tiff", ".pdf")


@dataclass(frozen=True, kw_only=True)
class DataCommand:
    """Show how a data source is understood: counts, columns, sizes, six examples, duplicates and bad records;
    and draw a contact sheet of its images."""

    data: DataConfig
    """How the source is read; SOURCE may stand first instead of --data SOURCE."""

    sheet: str = "contact-sheet.png"
    """The file of the contact sheet; an empty name draws none. If it would lie in the source's own folder of
    images, it is written beside that folder."""

    views: str | None = None
    """A method: draw a sheet of the random views that it trains on, into views.png."""

    views_size: int = 64
    """Side of those views in pixels."""

    json: bool = False
    """Print as JSON."""


def run(arguments: Sequence[str]) -> None:
    """Inspect, print, draw."""
    if not arguments:
        raise ConfigError(_USAGE)
    options = parse_flags(DataCommand, source_first(arguments), prog="likewise data")
    _check(options)
    method = None if options.views is None else find_method(options.views)
    report = inspect_source(options.data, progress=not options.json)
    if options.json:
        print(json_format.dumps(report.to_json(), indent=2, ensure_ascii=False))
    else:
        print_report(report)
    data = None if report.dataset is None or report.dataset.pixels is None else report.dataset
    lines = []
    if data is not None and len(data) > 0 and options.sheet:
        lines += _draw_contact_sheet(data, report, options.sheet)
    if method is not None:
        if "audio" in method.needs and "image" not in method.needs:
            raise ConfigError(
                f"--views {method.name}: views of sounds are not drawn; name a method on images."
            )
        if data is None or len(data) == 0:
            raise DataError("--views needs images, and this source has none that can be read.")
        sheet = _outside(Path("views.png"), report)
        if (reason := why_not_there(sheet)) is not None:
            raise ConfigError(f"--views: {sheet} cannot be written: {reason}; run this in another folder.")
        _draw_views(data, method.default_views(options.views_size)["views"], options.views_size, sheet)
        lines.append(f"views: {sheet}")
    if not options.json:
        print(*map(printed_line, lines), sep="\n", end="\n" if lines else "")


def _check(options: DataCommand) -> None:
    """Reject what cannot be drawn, before a long look at the data."""
    if options.sheet and Path(options.sheet).suffix.lower() not in _IMAGE_FORMATS:
        raise ConfigError(f"--sheet {options.sheet}: expected an image file, such as contact-sheet.png.")
    if options.sheet and options.sheet != DataCommand.sheet:
        source = options.data.source
        check_place("--sheet", Path(options.sheet), such_as=DataCommand.sheet, inputs=[source])
    if options.views_size < 1:
        raise ConfigError(
            f"--views-size {options.views_size}: expected the side of a view, at least 1 pixel, such as 64."
        )


def _draw_contact_sheet(data: Dataset, report: SourceReport, name: str) -> list[str]:
    """Draw it, and return lines for the user; if the default place cannot be written, print why."""
    sheet = _outside(Path(name), report)
    reason = why_not_there(sheet)
    if name == DataCommand.sheet and reason is not None:
        print(f"no contact sheet: {printed_line(reason)}; --sheet FILE names another place.", file=sys.stderr)
        return []
    sheet.parent.mkdir(parents=True, exist_ok=True)
    return [f"contact sheet: {sheet}", *draw_contact_sheet(data, sheet)]


def _outside(sheet: Path, report: SourceReport) -> Path:
    """The sheet's place; beside the source if that is a folder of images, where it would become data."""
    folder = _root(report.source.removeprefix("file://")).resolve()
    if report.kind == FOLDER_OF_IMAGES and sheet.resolve().is_relative_to(folder):
        return folder.parent / sheet.name
    return sheet


def _root(source: str) -> Path:
    """The folder that contains a source's images; of a pattern, the part before its first wildcard."""
    path = Path(source)
    if path.exists():
        return path if path.is_dir() else path.parent
    return Path(re.split(r"[*?{\[]", source, maxsplit=1)[0] + "_").parent


def _draw_views(data: Dataset, config: ViewConfig, size: int, path: Path) -> None:
    import numpy as np

    from likewise.reporting.sheets.sheet import save_image
    from likewise.reporting.sheets.view_sheet import draw_view_sheet

    rows = np.linspace(0, len(data) - 1, min(_SHEET_ROWS, len(data))).astype(int)
    captions = None if data.texts is None else [data.texts[row][0] if data.texts[row] else "" for row in rows]
    save_image(draw_view_sheet(data.images(rows), config=config, size=size, captions=captions), path)
