"""A contact sheet: images with their captions or labels below them."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from likewise.data.dataset import Dataset
from likewise.data.images.decode import to_square
from likewise.reporting.sheets.sheet import LINE_HEIGHT, Sheet, open_font, save_image, wrap

__all__ = ["draw_contact_sheet"]

_GAP, _MAX_LINES = 14, 4


def draw_contact_sheet(
    dataset: Dataset, path: str | Path, *, count: int = 24, columns: int = 6, side: int = 176
) -> list[str]:
    """Draw images with their captions or labels.

    Args:
        dataset: has images.
        path: the PNG or JPEG file to write.
        count: number of images, evenly spaced over the dataset.
        columns: images per line.
        side: of each image, in pixels.

    Returns:
        Remarks for the user, such as characters that no font has.
    """
    rows = np.unique(np.linspace(0, len(dataset) - 1, min(count, len(dataset))).astype(np.int64)).tolist()
    columns = max(1, min(columns, len(rows)))
    captions = [_caption(dataset, row) for row in rows]
    font, remarks = open_font(captions)
    wrapped = [wrap(caption, font, side, _MAX_LINES) for caption in captions]
    step = side + _GAP, side + LINE_HEIGHT * max([1, *map(len, wrapped)]) + _GAP + 12
    sheet = Sheet(columns * step[0] + _GAP, -(-len(rows) // columns) * step[1] + _GAP, font)
    for number, (row, lines) in enumerate(zip(rows, wrapped, strict=True)):
        left, top = _GAP + (number % columns) * step[0], _GAP + (number // columns) * step[1]
        sheet.paste(to_square(dataset.original(row), side, "pad"), left, top)
        sheet.write(lines, left, top + side + 6)
    save_image(sheet.image, path)
    return remarks


def _caption(dataset: Dataset, row: int) -> str:
    if dataset.texts is not None and dataset.texts[row]:
        return dataset.texts[row][0]
    if dataset.labels is not None and dataset.label_names is not None and dataset.labels[row] >= 0:
        return str(dataset.label_names[int(dataset.labels[row])])
    return dataset.ids[row]
