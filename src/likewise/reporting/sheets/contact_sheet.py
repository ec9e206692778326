"""A sheet of pictures with their captions under them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from likewise.data.dataset import Dataset
from likewise.data.images.decode import to_square
from likewise.reporting.sheets.fonts import find_font

__all__ = ["draw_contact_sheet"]

_FONT_SIZE = 13


def draw_contact_sheet(
    dataset: Dataset, path: str | Path, *, count: int = 24, columns: int = 6, side: int = 176
) -> list[str]:
    """Draw pictures with their captions or labels under them.

    Args:
        dataset: with images.
        path: of the PNG or JPEG to write.
        count: how many pictures, spread evenly over the dataset.
        columns: how many side by side.
        side: of each picture, in pixels.

    Returns:
        Remarks for the user, such as that no font has the signs of some captions.
    """
    places = np.unique(np.linspace(0, len(dataset) - 1, min(count, len(dataset))).astype(np.int64))
    columns = max(1, min(columns, len(places)))
    captions = [_caption(dataset, int(place)) for place in places]
    path_of_font, remarks = find_font(captions)
    font = ImageFont.truetype(str(path_of_font), _FONT_SIZE)
    gap, line_height, num_lines = 14, 17, 4
    # As many lines as the longest caption needs, up to four; longer ones end in an ellipsis.
    wrapped = [_wrap(caption, font, side, num_lines) for caption in captions]
    cell = (side + gap, side + 6 + line_height * max([1, *map(len, wrapped)]) + gap + 6)
    rows = -(-len(places) // columns)
    sheet = Image.new("RGB", (columns * cell[0] + gap, rows * cell[1] + gap), "white")
    pen = ImageDraw.Draw(sheet)
    for number, (place, lines) in enumerate(zip(places, wrapped, strict=True)):
        left, top = gap + (number % columns) * cell[0], gap + (number // columns) * cell[1]
        sheet.paste(to_square(dataset.original(int(place)), side, "pad"), (left, top))
        for line_number, line in enumerate(lines):
            pen.text((left, top + side + 6 + line_number * line_height), line, fill=(32, 32, 32), font=font)
    sheet.save(path)
    return remarks


def _caption(dataset: Dataset, place: int) -> str:
    if dataset.texts is not None and dataset.texts[place]:
        return dataset.texts[place][0]
    if dataset.labels is not None and dataset.label_names is not None and dataset.labels[place] >= 0:
        return str(dataset.label_names[int(dataset.labels[place])])
    return dataset.ids[place]


def _wrap(text: str, font: Any, width: int, num_lines: int) -> list[str]:
    """Lines no wider than `width`, broken at spaces; within a word that is wider (Chinese has no spaces)."""
    lines: list[str] = []
    rest = " ".join(text.split())[:400]
    while rest and len(lines) < num_lines:
        fits = 1
        while fits < len(rest) and font.getlength(rest[: fits + 1]) <= width:
            fits += 1
        if fits < len(rest):
            space = rest.rfind(" ", 1, fits + 1)
            fits = space if space > 0 else fits
        lines.append(rest[:fits].rstrip())
        rest = rest[fits:].lstrip()
    if rest:
        last = lines[-1]
        while last and font.getlength(last + "…") > width:
            last = last[:-1]
        lines[-1] = last + "…"
    return lines
