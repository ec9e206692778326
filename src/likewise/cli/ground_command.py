"""`likewise ground RUN photo.jpg "a red hat"`, `likewise ground RUN phrases.csv --out regions.csv`."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import tyro

from likewise.cli.files.row_files import ROW_SUFFIXES, check_out
from likewise.cli.files.source_rows import Finding, Row, RowOptions, Rows, finish, open_rows
from likewise.data.columns import OPTIONAL, PHRASE, Needs
from likewise.data.images.decode import decode_upright
from likewise.data.images.inputs import upright_image
from likewise.data.images.refs import FileImage
from likewise.data.record import Record
from likewise.errors import ConfigError, RecordError
from likewise.messages import counted, plain_warnings, printed_line
from likewise.model.explanations.grounding import Grounding
from likewise.model.model import Model
from likewise.option_flags import check_counts, parse_flags
from likewise.reporting.sheets.grounding_sheet import draw_groundings
from likewise.runs.open import open_model

__all__ = ["GroundCommand", "run"]

_DRAWINGS = (".png", ".jpg", ".jpeg", ".webp", ".svg", ".pdf")
Boxes = list[list[float]]


class _Asked(NamedTuple):
    """A phrase to look for in the image of a row, and boxes to choose from where there are any."""

    row: Row
    phrase: str
    boxes: Boxes | None


@dataclass(frozen=True, kw_only=True)
class GroundCommand(RowOptions):
    """Find the region of an image that a phrase names, with a trained model of tcl."""

    source: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="IMAGE")]
    """An image, a folder of images, or any source that `likewise data` reads; with no phrase on the line, a
    table of images with phrases, or with boxes that have phrases."""

    phrases: Annotated[tuple[str, ...], tyro.conf.Positional, tyro.conf.arg(metavar="[PHRASE...]")] = ()
    """What to look for in every image."""

    box: tuple[str, ...] = ()
    """Boxes to choose from in one image, each as x,y,width,height in pixels, such as `--box 0,0,40,60
    50,10,30,30`."""

    out: str | None = None
    """Of one image with phrases, the drawing (.png, .svg, ...; grounding.png when not given). Otherwise the
    file of regions: .csv, .jsonl or .parquet; printed when not given."""

    boxes_column: str | None = None
    """Column of the table with boxes and their phrases; recognised when not given."""

    layer: int | None = None
    """Index of the fusion layer, from 0; the middle one by default."""


def run(arguments: Sequence[str]) -> None:
    """Ground, and draw, print or write."""
    options = parse_flags(GroundCommand, arguments, prog="likewise ground")
    check_counts(options, "batch_size")
    boxes = [_box(text) for text in options.box]
    suffixes = (*_DRAWINGS, *ROW_SUFFIXES) if options.phrases else ROW_SUFFIXES
    out = options.out
    if out is None and options.phrases and os.path.isfile(options.source):
        out = "grounding.png"
    check_out(out, such_as="grounding", inputs=(options.source, options.images), suffixes=suffixes)
    if boxes and not options.phrases:
        raise ConfigError("--box goes with one image and phrases; a table brings its own boxes.")
    model = open_model(options.run, options.device)
    model.needs("ground")  # before any source is opened
    needs = Needs("image", boxes=OPTIONAL, text=PHRASE)
    rows = open_rows(options, options.source, needs, noun="phrase", words=options.phrases, texts=_phrases)
    draws = out is not None and Path(out).suffix.lower() in _DRAWINGS
    if not (options.phrases and _is_one_file(rows, options.source)):
        if boxes or (options.out and draws):
            given = "--box" if boxes else f"--out {out}"
            count = counted(len(rows.records), "usable image")
            raise ConfigError(f"{given} is for one image file, and {options.source} has {count}.")
        out, draws = options.out, False
    found, grounded = _grounded(model, rows, options, boxes)
    finish(found, rows, None if draws else out, f"regions of {counted(len(found), 'phrase')}")
    if draws:
        path = Path(str(out))
        path.parent.mkdir(parents=True, exist_ok=True)
        image, fit = upright_image(options.source), model.config["images"]["fit"]
        remarks = draw_groundings(image, grounded, path, fit=fit, boxes=boxes)
        for line in (f"wrote {path}", *remarks):
            print(printed_line(line))


def _is_one_file(rows: Rows, source: str) -> bool:
    """Whether the source is an image file, and not a table or folder of some."""
    images = [record.image for record in rows.records]
    if len(images) != 1 or not isinstance(images[0], FileImage) or not os.path.isfile(source):
        return False
    return os.path.samefile(images[0].address, source)


def _grounded(
    model: Model, rows: Rows, options: GroundCommand, boxes: Boxes
) -> tuple[list[Finding], list[Grounding]]:
    """All phrases in all images that can be used."""
    has_boxes = bool(boxes) or any("boxes" in record.values for record in rows.records)
    found: list[Finding] = []
    groundings: list[Grounding] = []
    num_unnamed = 0
    with plain_warnings():
        for batch in rows.batches(decode_upright, options, "grounding"):
            asked: list[_Asked] = []
            for row in batch:
                try:
                    own = boxes or _boxes(row)
                except RecordError as error:
                    rows.set_aside(row.record, str(error))
                    continue
                asked += [_Asked(row, phrase, own if has_boxes else None) for phrase in row.texts]
                num_unnamed += has_boxes and not boxes and not _named(row.record)
            for start in range(0, len(asked), options.batch_size):
                piece = asked[start : start + options.batch_size]
                images, phrases = [one.row.images[0] for one in piece], [one.phrase for one in piece]
                listed = [one.boxes for one in piece] if has_boxes else None
                groundings += model.ground(images, phrases, listed, layer=options.layer)
                found += map(partial(_finding, rows), piece, groundings[-len(piece) :])
    if num_unnamed:
        said = counted(num_unnamed, "row")
        print(f"note: {said} without phrases of boxes: their texts are looked for.", file=sys.stderr)
    return found, groundings


def _named(record: Record) -> list[str]:
    """The phrases of its boxes."""
    return list(dict.fromkeys(box.phrase for box in record.values.get("boxes", ()) if box.phrase))


def _phrases(record: Record) -> list[str]:
    """The phrases of its boxes, or its texts; a box without a phrase is one to choose from."""
    return _named(record) or list(dict.fromkeys(record.texts))


def _boxes(row: Row) -> Boxes:
    """All boxes of a row's image, in pixels. Raises RecordError where one has no area."""
    scale = row.images[0].size * 2
    found = []
    for box in row.record.values.get("boxes", ()):
        if min(box.box[2:]) <= 0:
            numbers = ", ".join(f"{number:g}" for number in box.box)
            raise RecordError(f"boxes: width and height must be above 0, got {numbers}")
        sides = scale if box.relative else (1, 1, 1, 1)
        found.append([number * side for number, side in zip(box.box, sides, strict=True)])
    return found


def _box(text: str) -> list[float]:
    try:
        x, y, width, height = (float(number) for number in text.split(","))
    except ValueError as error:
        raise ConfigError(f"--box {text}: expected four numbers, x,y,width,height.") from error
    return [x, y, width, height]


def _finding(rows: Rows, asked: _Asked, found: Grounding) -> Finding:
    """A grounding; empty cells where the map has no highest place, or this image no boxes and others have
    some."""
    names = rows.named(asked.row.record)
    places: dict[str, Any] = {}
    places |= dict(zip(("point_x", "point_y"), found.point or (None, None), strict=True))
    places |= dict(zip(("x", "y", "width", "height"), found.region or (None,) * 4, strict=True))
    row = {**names, "phrase": found.phrase, "probability": round(found.probability, 6)}
    row |= {name: None if value is None else round(value, 2) for name, value in places.items()}
    row |= {} if asked.boxes is None else {"best_box": found.best_box}
    cells = [names["image"], found.phrase, f"match {found.probability:.1%}"]
    if found.region is None or found.point is None:
        cells.append("no region stands out")
    else:
        x, y = found.point
        cells.append(f"region {','.join(f'{side:.0f}' for side in found.region)}")
        cells.append(f"highest at {x:.0f},{y:.0f}")
    cells += [] if row.get("best_box") is None else [f"best box {found.best_box}"]
    return Finding([row], cells)
