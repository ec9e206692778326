"""`likewise data SOURCE`."""

from __future__ import annotations

import json as json_format
import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from likewise.cli.output_paths import check_place, why_not_there
from likewise.cli.source_tables import print_report
from likewise.data import DataConfig
from likewise.data.source_report import SourceReport, inspect_source
from likewise.data.sources.image_folder import FOLDER_OF_IMAGES
from likewise.errors import ConfigError, DataError
from likewise.methods.catalog import find_method
from likewise.option_flags import parse_flags
from likewise.reporting.sheets.contact_sheet import draw_contact_sheet
from likewise.views import ViewConfig

__all__ = ["DataCommand", "run"]

_USAGE = "usage: likewise data SOURCE [options]; likewise data --help lists them."
_SHEET_ROWS = 6
_PICTURES = (".png", ".jpg", ".jpeg", ".webp", ".gif", ".bmp", ".tif", ".tiff", ".pdf")


@dataclass(frozen=True, kw_only=True)
class DataCommand:
    """Show what is understood of a data source: counts, columns, sizes, six examples, duplicates, bad
    records; and draw a contact sheet of its pictures."""

    data: DataConfig
    """How the source is read; SOURCE may stand first instead of --data SOURCE."""

    sheet: str = "contact-sheet.png"
    """Where the contact sheet goes, beside the source where that would be into a folder of images; an empty
    name draws none."""

    views: str | None = None
    """A method: draw a sheet of the random views that it would train on, into views.png."""

    views_size: int = 64
    """Side of those views in pixels."""

    json: bool = False
    """Print as JSON."""


def run(arguments: Sequence[str]) -> None:
    """Inspect, print, draw."""
    words = list(arguments)
    if words and not words[0].startswith("-"):
        words = ["--data", *words]
    if not words:
        raise ConfigError(_USAGE)
    options = parse_flags(DataCommand, words, prog="likewise data")
    _check(options)
    method = None if options.views is None else find_method(options.views)
    found = inspect_source(options.data, progress=not options.json)
    if options.json:
        print(json_format.dumps(found.to_json(), indent=2, ensure_ascii=False))
    else:
        print_report(found)
    has_pictures = found.dataset is not None and found.dataset.pixels is not None and len(found.dataset) > 0
    if has_pictures and options.sheet:
        _draw_contact_sheet(options, found)
    if method is not None:
        if not has_pictures:
            raise DataError("--views needs pictures, and this source has none that can be read.")
        sheet = _outside(Path("views.png"), found)
        if (reason := why_not_there(sheet)) is not None:
            raise ConfigError(f"--views: {sheet} cannot be written: {reason}; run this in another folder.")
        _draw_views(found, method.default_views(options.views_size)["views"], options.views_size, sheet)
        _say(f"views: {sheet}", options.json)


def _check(options: DataCommand) -> None:
    """What cannot be drawn is refused before a long look at the data."""
    if options.sheet and Path(options.sheet).suffix.lower() not in _PICTURES:
        raise ConfigError(f"--sheet {options.sheet}: expected a picture's name, such as contact-sheet.png.")
    if options.sheet and options.sheet != DataCommand.sheet:
        check_place("--sheet", Path(options.sheet), such_as=DataCommand.sheet)
    if options.views_size < 1:
        raise ConfigError(
            f"--views-size {options.views_size}: expected the side of a view, at least 1 pixel, such as 64."
        )


def _draw_contact_sheet(options: DataCommand, found: SourceReport) -> None:
    """Draw it, and say where it is; where nobody named a place and this one takes none, say why not."""
    sheet = _outside(Path(options.sheet), found)
    reason = why_not_there(sheet)
    if options.sheet == DataCommand.sheet and reason is not None:
        print(f"no contact sheet: {reason}; --sheet FILE names another place.", file=sys.stderr)
        return
    assert found.dataset is not None
    sheet.parent.mkdir(parents=True, exist_ok=True)
    for line in [f"contact sheet: {sheet}", *draw_contact_sheet(found.dataset, sheet)]:
        _say(line, options.json)


def _outside(sheet: Path, found: SourceReport) -> Path:
    """Where a sheet goes: never into a folder of images, which would have one more by it; beside it then."""
    folder = _root(found.source.removeprefix("file://")).resolve()
    if found.kind == FOLDER_OF_IMAGES and sheet.resolve().is_relative_to(folder):
        return folder.parent / sheet.name
    return sheet


def _root(source: str) -> Path:
    """The folder below which a source's pictures lie; of a pattern, what stands before its first sign."""
    path = Path(source)
    if path.exists():
        return path if path.is_dir() else path.parent
    return Path(re.split(r"[*?{\[]", source, maxsplit=1)[0] + "_").parent


def _draw_views(found: SourceReport, config: ViewConfig, size: int, path: Path) -> None:
    import numpy as np

    from likewise.reporting.sheets.sheet import save_image
    from likewise.reporting.sheets.view_sheet import draw_view_sheet

    data = found.dataset
    assert data is not None
    rows = np.linspace(0, len(data) - 1, min(_SHEET_ROWS, len(data))).astype(int)
    captions = None if data.texts is None else [data.texts[row][0] if data.texts[row] else "" for row in rows]
    sheet = draw_view_sheet(data.images(rows), config=config, size=size, captions=captions)
    save_image(sheet, path)


def _say(line: str, quiet: bool) -> None:
    if not quiet:
        print(line)
