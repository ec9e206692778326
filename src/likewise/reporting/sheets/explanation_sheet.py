"""A sheet that explains a match: heat maps over the image, for the whole text, phrases and single words."""

from __future__ import annotations

import textwrap
import warnings
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from likewise.atomic_files import written_whole
from likewise.model.grad_cam import Explanation, overlay
from likewise.reporting.sheets.fonts import find_font

__all__ = ["draw_explanation"]

_MAX_WORDS = 23


def draw_explanation(
    image: NDArray[np.uint8],
    found: Explanation,
    path: Path,
    *,
    phrases: Mapping[str, NDArray[np.float32]] | None = None,
) -> list[str]:
    """Draw the image, the map of the whole text, those of the phrases, and one for each word.

    Args:
        image: (3, S, S).
        found: its explanation.
        path: the file to write; matplotlib writes it, so SVG and PDF are possible too.
        phrases: (g, g) maps by title.

    Returns:
        Remarks for the user: words left out, characters that no font has.
    """
    from matplotlib.figure import Figure

    words = found.word_maps()
    maps = [*(phrases or {}).items(), *words[:_MAX_WORDS]]
    font, remarks = find_font(title for title, _ in maps)
    if len(words) > _MAX_WORDS:
        remarks = [
            f"it shows the first {_MAX_WORDS} of the {len(words)} words that the model read",
            *remarks,
        ]
    panels = [
        (f"match {found.probability:.0%}", image.transpose(1, 2, 0)),
        ("the whole text", overlay(image, found.whole)),
        *((title, overlay(image, heat)) for title, heat in maps),
    ]
    columns = min(6, len(panels))
    lines = -(-len(panels) // columns)
    figure = Figure(figsize=(2 * columns, 2.25 * lines), layout="constrained")
    for axis, (title, content) in zip(
        figure.subplots(lines, columns, squeeze=False).flat, panels, strict=False
    ):
        axis.imshow(content)
        axis.set_title(textwrap.fill(title, 24), fontsize=10, font=font)
    for axis in figure.axes:
        axis.axis("off")
    with warnings.catch_warnings(), written_whole(path) as beside:
        # Missing characters are among the remarks.
        warnings.filterwarnings("ignore", message=r"Glyph .* missing from", category=UserWarning)
        figure.savefig(beside, dpi=110, format=path.suffix[1:])
    return remarks
