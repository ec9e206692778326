"""`likewise ground RUN photo.jpg "a red hat"`, `likewise ground RUN phrases.csv --out regions.csv`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import tyro

from likewise.cli.files.row_files import check_out
from likewise.cli.files.statement_rows import finish, open_rows, print_cells
from likewise.data.columns import Needs
from likewise.data.config import DataConfig
from likewise.data.images.inputs import upright_image
from likewise.data.sources.open import open_source
from likewise.errors import ConfigError
from likewise.messages import plain_warnings, printed_line
from likewise.model.explanations.grounding import Grounding
from likewise.model.model import Model
from likewise.option_flags import check_counts, parse_flags
from likewise.reporting.sheets.grounding_sheet import draw_groundings
from likewise.runs.open import open_model

__all__ = ["GroundCommand", "run"]

_DRAWINGS = (".png", ".jpg", ".jpeg", ".webp", ".svg", ".pdf")


@dataclass(frozen=True, kw_only=True)
class GroundCommand:
    """Find the region of an image that a phrase names, with a trained model of tcl."""

    run: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="RUN")]
    """A run's folder, a model folder or a hub name."""

    source: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="IMAGE")]
    """An image; with no phrase on the line, a table of images with texts, or with boxes that have phrases."""

    phrases: Annotated[tuple[str, ...], tyro.conf.Positional, tyro.conf.arg(metavar="[PHRASE...]")] = ()
    """What to look for in the image."""

    box: tuple[str, ...] = ()
    """Boxes to choose from, each as x,y,width,height in pixels, such as `--box 0,0,40,60 50,10,30,30`."""

    out: str | None = None
    """Of one image, the drawing (.png, .svg, ...; grounding.png when not given). Of a table, the file of
    regions: .csv, .jsonl or .parquet; printed when not given."""

    layer: int | None = None
    """Index of the fusion layer, from 0; the middle one by default."""

    batch_size: int = 64
    """Images at a time."""

    device: str = "auto"
    """auto, cpu, cuda, cuda:1, ..."""

    quiet: bool = False
    """Show no progress."""


def run(arguments: Sequence[str]) -> None:
    """Ground, and draw, print or write."""
    options = parse_flags(GroundCommand, arguments, prog="likewise ground")
    check_counts(options, "batch_size")
    boxes = [_box(text) for text in options.box]
    if options.phrases:
        out = options.out or "grounding.png"
        check_out(out, such_as="grounding", suffixes=_DRAWINGS)
        _ground_one(open_model(options.run, options.device), options, boxes, Path(out))
        return
    if boxes:
        raise ConfigError("--box goes with one image and phrases; a table brings its own boxes.")
    check_out(options.out, such_as="regions")
    _ground_table(open_model(options.run, options.device), options)


def _ground_one(model: Model, options: GroundCommand, boxes: list[list[float]], path: Path) -> None:
    with plain_warnings():
        found = model.ground(options.source, options.phrases, boxes or None, layer=options.layer)
    for one in found:
        print_cells(_cells(_row(options.source, one, boxes or None)))
    path.parent.mkdir(parents=True, exist_ok=True)
    remarks = draw_groundings(
        upright_image(options.source), found, path, fit=model.config["images"]["fit"], boxes=boxes
    )
    for line in (f"wrote {path}", *remarks):
        print(printed_line(line))


def _ground_table(model: Model, options: GroundCommand) -> None:
    model.needs("ground")  # before any source is opened
    has_boxes = "boxes" in open_source(DataConfig(source=options.source), Needs("image", "boxes")).columns
    rows, found = open_rows(options.source, ("image",), "boxes" if has_boxes else "text"), []
    for piece in rows.batches(options.batch_size, "grounding", quiet=options.quiet):
        triples = [
            (record.id, images[0], phrase, boxes)
            for record, images in piece
            for phrase, boxes in _phrases(record, images[0].size)
        ]
        if triples:
            names, images, phrases, boxes = (list(column) for column in zip(*triples, strict=True))
            with plain_warnings():
                grounded = model.ground(images, phrases, boxes if has_boxes else None, layer=options.layer)
            found += [
                _row(name, one, given if has_boxes else None)
                for name, one, given in zip(names, grounded, boxes, strict=True)
            ]
    finish(found, rows.bad, options.out, _cells)


def _phrases(record: Any, size: tuple[int, int]) -> list[tuple[str, list[list[float]]]]:
    """A record's phrases, each with all boxes of the image in pixels; a box without a phrase is one to choose
    from."""
    listed = record.values.get("boxes") or ()
    scale = [*size, *size]
    boxes = [
        [number * (side if box.relative else 1) for number, side in zip(box.box, scale, strict=True)]
        for box in listed
    ]
    named = dict.fromkeys(box.phrase for box in listed if box.phrase)
    return [(phrase, boxes) for phrase in named or dict.fromkeys(record.texts)]


def _box(text: str) -> list[float]:
    try:
        x, y, width, height = (float(number) for number in text.split(","))
    except ValueError as error:
        raise ConfigError(f"--box {text}: expected four numbers, x,y,width,height.") from error
    return [x, y, width, height]


def _row(image: str, found: Grounding, boxes: Sequence[Sequence[float]] | None) -> dict[str, Any]:
    """A grounding as a row of a table; empty cells where the map has no highest place, or this image no boxes
    and others have some."""
    places: dict[str, Any] = {}
    places |= dict(zip(("point_x", "point_y"), found.point or (None, None), strict=True))
    places |= dict(zip(("x", "y", "width", "height"), found.region or (None,) * 4, strict=True))
    row = {"image": image, "phrase": found.phrase, "probability": round(found.probability, 6)}
    row |= {name: None if value is None else round(value, 2) for name, value in places.items()}
    return row | ({} if boxes is None else {"best_box": found.best_box})


def _cells(row: dict[str, Any]) -> list[str]:
    """What is printed of a row."""
    cells = [row["image"], row["phrase"], f"match {row['probability']:.1%}"]
    if row["x"] is None:
        cells.append("no region stands out")
    else:
        cells.append(f"region {row['x']:.0f},{row['y']:.0f},{row['width']:.0f},{row['height']:.0f}")
        cells.append(f"highest at {row['point_x']:.0f},{row['point_y']:.0f}")
    return cells if row.get("best_box") is None else [*cells, f"best box {row['best_box']}"]
