"""A sheet of random views: each stored image, then views of it as training would draw them."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from PIL import Image
from torch import Tensor

from likewise.reporting.sheets.sheet import LINE_HEIGHT, Sheet, open_font, square_image, wrap
from likewise.step_random import StepRandom
from likewise.views.captions import caption_flags
from likewise.views.config import ViewConfig
from likewise.views.image import random_view

__all__ = ["draw_view_sheet"]

_GAP, _TOP, _TEXT_WIDTH = 6, 24, 260


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
    """Draw a line for each image: the stored image, then random views.

    Args:
        images: (B, 3, H, H) uint8, as stored.
        config: of the views; captions restrict them as it says.
        size: side of the views in pixels.
        captions: one per image, written beside its views; None for images without.
        num_views: views per image.
        seed: of the random views.
        cell: side of each image on the sheet in pixels.

    Raises:
        ValueError: no images, or a different number of captions.
    """
    if len(images) == 0:
        raise ValueError("a sheet of views needs at least one image, got none")
    if captions is not None and len(captions) != len(images):
        raise ValueError(f"a sheet of {len(images)} images got {len(captions)} captions")
    views = _draw_views(images, config, size, captions, num_views, seed)  # (B, V, 3, S, S)
    step = cell + _GAP
    text_left = step * (1 + num_views) + 2 * _GAP
    font, _ = open_font(captions or ())
    sheet = Sheet(text_left + (0 if captions is None else _TEXT_WIDTH), _TOP + step * len(images), font)
    sheet.write(["stored"], _GAP, _GAP)
    sheet.write([f"views at {size} px"], step + 2 * _GAP, _GAP)
    for row, image in enumerate(images):
        top = _TOP + row * step
        sheet.paste(square_image(image.numpy(), cell), _GAP, top)
        for column, view in enumerate(views[row], start=1):
            sheet.paste(square_image(view.numpy(), cell), step * column + 2 * _GAP, top)
        if captions is not None:
            lines = wrap(captions[row], font, _TEXT_WIDTH - _GAP, max(1, cell // LINE_HEIGHT))
            sheet.write(lines, text_left, top)
    return sheet.image


def _draw_views(
    images: Tensor, config: ViewConfig, size: int, captions: Sequence[str] | None, num_views: int, seed: int
) -> Tensor:
    """(B, V, 3, S, S) uint8."""
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
