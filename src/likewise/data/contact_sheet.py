"""A sheet of pictures with their captions under them."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from likewise.data.dataset import Dataset
from likewise.data.decode import to_square

__all__ = ["draw_contact_sheet"]

_CJK_FONTS = (
    "NotoSansCJK-Regular.ttc", "NotoSansSC-Regular.otf", "NotoSansSC-Regular.ttf",
    "SourceHanSansSC-Regular.otf", "wqy-microhei.ttc", "wqy-zenhei.ttc", "DroidSansFallbackFull.ttf",
    "PingFang.ttc", "STHeiti Light.ttc", "msyh.ttc", "simsun.ttc",
)  # fmt: skip
_FONT_FOLDERS = (
    "", "/usr/share/fonts/opentype/noto/", "/usr/share/fonts/noto-cjk/", "/usr/share/fonts/truetype/wqy/",
    "/usr/share/fonts/truetype/droid/", "/System/Library/Fonts/",
)  # fmt: skip


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
    font, remarks = _font(captions)
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


def _font(captions: Sequence[str]) -> tuple[Any, list[str]]:
    """A font that has the signs of the captions, and a remark where none was found."""
    import matplotlib

    size = 13
    if any(unicodedata.east_asian_width(sign) in "WF" for caption in captions for sign in caption):
        for name in (folder + name for name in _CJK_FONTS for folder in _FONT_FOLDERS):
            try:
                return ImageFont.truetype(name, size), []
            except OSError:
                continue
        remarks = [
            "no font with Chinese, Japanese or Korean signs was found here: they show as boxes on the sheet"
        ]
    else:
        remarks = []
    bundled = Path(matplotlib.get_data_path()) / "fonts" / "ttf" / "DejaVuSans.ttf"
    return ImageFont.truetype(str(bundled), size), remarks
