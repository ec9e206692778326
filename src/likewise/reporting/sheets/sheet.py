"""A white page of images and text, drawn with Pillow."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from likewise.atomic_files import written_whole
from likewise.reporting.sheets.fonts import find_font

__all__ = ["LINE_HEIGHT", "Sheet", "open_font", "save_image", "square_image", "wrap"]

_FONT_SIZE = 13
LINE_HEIGHT = 17
"""Pixels from one line of text to the next."""
_WITHOUT_SPACES = "\u2e80"  # Chinese and Japanese start here


class Sheet:
    """A white page.

    Args:
        width: in pixels.
        height: in pixels.
        font: for all text on it.
    """

    def __init__(self, width: int, height: int, font: Any) -> None:
        self.image = Image.new("RGB", (width, height), "white")
        self._pen = ImageDraw.Draw(self.image)
        self._font = font

    def paste(self, image: Image.Image, left: int, top: int) -> None:
        """Put an image with its upper left corner at (left, top)."""
        self.image.paste(image, (left, top))

    def write(self, lines: Sequence[str], left: int, top: int) -> None:
        """Write lines of text below one another."""
        for number, line in enumerate(lines):
            self._pen.text((left, top + number * LINE_HEIGHT), line, fill=(32, 32, 32), font=self._font)


def open_font(texts: Iterable[str]) -> tuple[Any, list[str]]:
    """A font for these texts, and a remark for the user where it lacks some of their characters."""
    path, remarks = find_font(texts)
    return ImageFont.truetype(str(path), _FONT_SIZE), remarks


def square_image(pixels: NDArray[np.uint8], side: int) -> Image.Image:
    """(3, S, S) uint8 as a square of `side` pixels; enlarged without smoothing."""
    image = Image.fromarray(np.ascontiguousarray(np.moveaxis(pixels, 0, -1)))
    enlarged = side >= image.width
    return image.resize((side, side), Image.Resampling.NEAREST if enlarged else Image.Resampling.BOX)


def save_image(image: Image.Image, path: str | Path) -> None:
    """Write an image file whole or not at all; its suffix names the format."""
    path = Path(path)
    kind = Image.registered_extensions().get(path.suffix.lower())
    with written_whole(path) as beside:
        image.save(beside, format=kind)


def wrap(text: str, font: Any, width: int, num_lines: int) -> list[str]:
    """Lines of at most `width` pixels, the last with an ellipsis where the text is longer.

    Lines break at spaces, after hyphens, slashes and underscores, and between signs of scripts without
    spaces; inside a word only where it is wider than a line.
    """
    lines: list[str] = []
    rest = " ".join(text.split())[:400]
    while rest and len(lines) < num_lines:
        fits = _fitting(rest, font, width)
        lines.append(rest[:fits].rstrip())
        rest = rest[fits:].lstrip()
    if rest:
        last = lines[-1]
        while last and font.getlength(last + "…") > width:
            last = last[:-1]
        # Whole words alone, unless that would leave less than half of the line.
        whole = last if len(last) == len(lines[-1]) else last[: _last_break(last + "x")].rstrip()
        lines[-1] = (whole if 2 * len(whole) > len(last) else last) + "…"
    return lines


def _fitting(text: str, font: Any, width: int) -> int:
    """How many signs of a text go into a line: up to a break, if there is one."""
    fits = 1
    while fits < len(text) and font.getlength(text[: fits + 1]) <= width:
        fits += 1
    return fits if fits == len(text) else _last_break(text[: fits + 1]) or fits


def _last_break(text: str) -> int:
    """The last place before the text's last sign where a line may break; 0 where there is none."""
    for place in range(len(text) - 1, 0, -1):
        before, after = text[place - 1], text[place]
        if " " in (before, after) or before in "-/_" or max(before, after) >= _WITHOUT_SPACES:
            return place
    return 0
