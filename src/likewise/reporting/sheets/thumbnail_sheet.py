"""Sheets of thumbnails: the answers of a search, groups of duplicates."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path

from PIL import Image

from likewise.reporting.sheets.sheet import LINE_HEIGHT, Sheet, open_font, save_image, wrap

__all__ = ["Picture", "draw_thumbnails"]

_SIDE, _GAP, _MAX_LINES, _COLUMNS = 176, 14, 4, 6

Picture = tuple[bytes | None, Sequence[str]]
"""An encoded image, None for an empty place, and the texts below it."""


def draw_thumbnails(sections: Sequence[tuple[str, Sequence[Picture]]], path: str | Path) -> list[str]:
    """Draw sections of images, each below its title.

    Args:
        sections: title and images.
        path: the image file to write.

    Returns:
        Remarks for the user, such as characters that no font has.
    """
    texts = [text for title, pictures in sections for text in [title, *(t for _, ts in pictures for t in ts)]]
    font, remarks = open_font(texts)
    columns = max(1, min(_COLUMNS, max((len(pictures) for _, pictures in sections), default=1)))
    width = columns * (_SIDE + _GAP) + _GAP
    placed: list[tuple[bytes | None, list[str], int, int]] = []
    height = _GAP
    for title, pictures in sections:
        placed.append((None, wrap(title, font, width - 2 * _GAP, 2), _GAP, height))
        height += LINE_HEIGHT * len(placed[-1][1]) + 8
        for start in range(0, len(pictures), columns):
            line = [
                (image, [row for text in texts for row in wrap(text, font, _SIDE, _MAX_LINES)])
                for image, texts in pictures[start : start + columns]
            ]
            for number, (image, rows) in enumerate(line):
                placed.append((image or b"", rows, _GAP + number * (_SIDE + _GAP), height))
            height += _SIDE + 6 + LINE_HEIGHT * max(len(rows) for _, rows in line) + _GAP
    sheet = Sheet(width, height, font)
    for image, rows, left, top in placed:
        if image:
            sheet.paste(_fitted(image), left, top)
        sheet.write(rows, left, top if image is None else top + _SIDE + 6)
    save_image(sheet.image, path)
    return remarks


def _fitted(data: bytes) -> Image.Image:
    """The whole image in a white square."""
    with Image.open(io.BytesIO(data)) as opened:
        image = opened.convert("RGB")
    scale = _SIDE / max(image.size)
    image = image.resize((max(1, round(image.width * scale)), max(1, round(image.height * scale))))
    square = Image.new("RGB", (_SIDE, _SIDE), "white")
    square.paste(image, ((_SIDE - image.width) // 2, (_SIDE - image.height) // 2))
    return square
