"""`likewise duplicates photos.index`."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import tyro

from likewise.cli.files.output_paths import check_place
from likewise.cli.files.row_files import check_out, write_rows
from likewise.errors import ConfigError
from likewise.messages import printable, printed_line
from likewise.option_flags import parse_flags
from likewise.reporting.sheets.thumbnail_sheet import draw_thumbnails
from likewise.search.duplicates import KINDS, Group, Sameness, duplicate_groups
from likewise.search.index import Index, open_index

__all__ = ["DuplicatesCommand", "run"]

_MOST_PRINTED, _MOST_DRAWN, _MOST_OF_GROUP = 20, 40, 12


@dataclass(frozen=True, kw_only=True)
class DuplicatesCommand:
    """Find groups of rows of an index that are the same, or nearly."""

    index: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="INDEX")]
    """The folder of the index."""

    kinds: tuple[Sameness, ...] = KINDS
    """exact: equal bytes. near: thumbnails that look nearly the same. similar: vectors that nearly agree, of
    images that look roughly alike."""

    min_cosine: float | None = None
    """Take rows of at least this cosine for similar, whatever they look like; by default 0.97, or what random
    pairs of this model hardly reach if that is higher."""

    out: str | None = None
    """File for the groups: .csv, .jsonl or .parquet, a row for each member. The first groups are printed when
    not given."""

    sheet: str | None = None
    """Draw the groups into this image file, such as duplicates.png."""


def run(arguments: Sequence[str]) -> None:
    """Find, print, write, draw."""
    options = parse_flags(DuplicatesCommand, arguments, prog="likewise duplicates")
    check_out(options.out, such_as="duplicates", inputs=[options.index])
    if options.sheet is not None:
        check_place("--sheet", Path(options.sheet), such_as="duplicates.png", inputs=[options.index])
    if options.min_cosine is not None and not 0 < options.min_cosine <= 1:
        raise ConfigError(f"--min-cosine is {options.min_cosine}; expected above 0, and at most 1.")
    index = open_index(options.index)
    groups = duplicate_groups(index, kinds=options.kinds, min_cosine=options.min_cosine)
    members = sum(len(group.rows) for group in groups)
    kinds = Counter(kind for group in groups for kind in group.kinds if kind != "first")
    said = ", ".join(f"{kinds[kind]:,} {kind}" for kind in KINDS if kinds[kind])
    print(
        f"{len(groups):,} groups of duplicates with {members:,} of {index.size:,} {index.manifest.noun}"
        + (f": besides the first of each {said}" if said else "")
    )
    if options.out is not None:
        write_rows(Path(options.out), _rows(index, groups))
        print(printed_line(f"wrote {options.out}"))
    else:
        _print(index, groups)
    if options.sheet is not None and groups:
        _draw(index, groups, options.sheet)


def _rows(index: Index, groups: Sequence[Group]) -> list[dict[str, Any]]:
    return [
        {"group": number, "kind": kind, "row": row, "id": record["id"], "path": record["path"]}
        for number, group in enumerate(groups, start=1)
        for row, kind, record in zip(group.rows, group.kinds, index.records(group.rows), strict=True)
    ]


def _print(index: Index, groups: Sequence[Group]) -> None:
    for number, group in enumerate(groups[:_MOST_PRINTED], start=1):
        names = [record["id"] for record in index.records(group.rows[:_MOST_OF_GROUP])]
        parts = [
            printable(name, most=60) + ("" if kind == "first" else f" ({kind})")
            for name, kind in zip(names, group.kinds, strict=False)
        ]
        more = len(group.rows) - len(parts)
        print(printed_line(f"{number:>4}  {', '.join(parts)}" + (f" and {more:,} more" if more else "")))
    if len(groups) > _MOST_PRINTED:
        print(f"and {len(groups) - _MOST_PRINTED:,} groups more; --out duplicates.csv writes all.")


def _draw(index: Index, groups: Sequence[Group], path: str) -> None:
    sections = []
    for number, group in enumerate(groups[:_MOST_DRAWN], start=1):
        rows = group.rows[:_MOST_OF_GROUP]
        parts = zip(rows, group.kinds, index.records(rows), strict=False)
        pictures = [(index.thumbnail(row), [kind, record["id"]]) for row, kind, record in parts]
        sections.append((f"group {number}: {len(group.rows):,}", pictures))
    for remark in draw_thumbnails(sections, path):
        print(printed_line(f"note: {remark}."), file=sys.stderr)
    left = f" (the first {_MOST_DRAWN} groups)" if len(groups) > _MOST_DRAWN else ""
    print(printed_line(f"drew {path}{left}"))
