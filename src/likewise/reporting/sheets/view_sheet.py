"""A sheet of views to look at: each image in the first column, then views of it."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from likewise.step_random import StepRandom
from likewise.views.captions import caption_flags
from likewise.views.config import ViewConfig
from likewise.views.image import random_view

__all__ = ["draw_view_sheet"]

_PAPER, _INK, _QUIET = (255, 255, 255), (40, 44, 52), (120, 126, 138)
_GAP, _TEXT_WIDTH = 6, 260


def draw_view_sheet(
    images: Tensor,
    *,
    config: ViewConfig,
    size: int,
    captions: Sequence[str] | None = None,
    num_views: int = 6,
    seed: int = 0,
    cell: int = 96,
) -> Image.Image:
    """Draws a row for each image: as stored, then random views as training would make them.

    Args:
        images: (B, 3, H, H) uint8, as stored.
        config: which views. Captions are respected as it says.
        size: side of the views in pixels.
        captions: one an image, written beside its row; None for images without.
        num_views: views in a row.
        seed: what the views are drawn from.
        cell: side of a picture on the sheet in pixels; views are shown without smoothing.

    Raises:
        ValueError: no images, or another number of captions.
    """
    if len(images) == 0:
        raise ValueError("a sheet of views needs at least one image, got none")
    if captions is not None and len(captions) != len(images):
        raise ValueError(f"a sheet of {len(images)} images got {len(captions)} captions")
    views = _make_views(images, config, size, captions, num_views, seed)  # (B, num_views, 3, S, S)
    step, top = cell + _GAP, 24
    width = step * (1 + num_views) + 2 * _GAP + (0 if captions is None else _TEXT_WIDTH)
    sheet = Image.new("RGB", (width, top + step * len(images)), _PAPER)
    pen = ImageDraw.Draw(sheet)
    font = ImageFont.load_default(12)
    pen.text((_GAP, 6), "stored", fill=_QUIET, font=font)
    pen.text((step + 2 * _GAP, 6), f"views at {size} px", fill=_QUIET, font=font)
    for row in range(len(images)):
        y = top + row * step
        sheet.paste(_picture(images[row], cell), (_GAP, y))
        for column in range(num_views):
            sheet.paste(_picture(views[row, column], cell), (step * (1 + column) + 2 * _GAP, y))
        if captions is not None:
            pen.multiline_text((width - _TEXT_WIDTH, y), _fitting(captions[row], cell), fill=_INK, font=font)
    return sheet


def _make_views(
    images: Tensor, config: ViewConfig, size: int, captions: Sequence[str] | None, num_views: int, seed: int
) -> Tensor:
    keep_sides, keep_colours = (None, None) if captions is None else caption_flags(captions)
    views = [
        random_view(
            images,
            size=size,
            config=config,
            draw=StepRandom(seed, 0),
            index=torch.arange(len(images)),
            view=view,
            mean=(0.0, 0.0, 0.0),
            std=(1.0, 1.0, 1.0),
            keep_sides=keep_sides,
            keep_colours=keep_colours,
        )
        for view in range(num_views)
    ]
    return torch.stack(views, dim=1).mul(255).round().to(torch.uint8)


def _picture(pixels: Tensor, cell: int) -> Image.Image:
    """(3, S, S) uint8 as a square of `cell` pixels."""
    picture = Image.fromarray(pixels.permute(1, 2, 0).contiguous().numpy())
    return picture.resize(
        (cell, cell), Image.Resampling.NEAREST if cell >= pixels.shape[1] else Image.Resampling.BOX
    )


def _fitting(caption: str, cell: int) -> str:
    """A caption broken into the lines that stand beside one row."""
    # Pillow's own font has no Chinese: what it cannot draw is left out rather than shown as empty boxes.
    drawable = "".join(letter for letter in caption if letter.isascii() or "\u00a0" <= letter <= "\u024f")
    lines = textwrap.wrap(drawable, 42)
    room = max(1, cell // 15)
    return "\n".join(lines[:room]) + (" …" if len(lines) > room else "")
