"""A sheet that explains a match, a cosine or a caption: heat maps over the image, of all and of each word."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from likewise.model.explanations.explanation import Explanation
from likewise.reporting.sheets.figure_files import save_figure
from likewise.reporting.sheets.fonts import find_font

__all__ = ["draw_comparison", "draw_explanation"]

_MAX_WORDS = 23
_Panels = list[tuple[str, Any]]  # titles and images


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
    words = found.word_maps()
    maps = [*(phrases or {}).items(), *words[:_MAX_WORDS]]
    remarks = []
    if len(words) > _MAX_WORDS:
        remarks = [f"it shows the first {_MAX_WORDS} of the {len(words)} words that the model read"]
    panels: _Panels = [
        (found.figure, image.transpose(1, 2, 0)),
        ("the whole text", found.drawn(image, found.whole)),
        *((title, found.drawn(image, heat)) for title, heat in maps),
    ]
    return remarks + _draw(panels, path, num_columns=min(6, len(panels)))


def draw_comparison(
    images: Sequence[NDArray[np.uint8]], found: Sequence[Explanation], path: Path
) -> list[str]:
    """Draw two images and, below each, the regions that make it similar to the other; see `draw_explanation`.

    Args:
        images: two, (3, S, S) each.
        found: their explanations, each beside the other.
        path: the file to write.
    """
    panels: _Panels = [
        (one.figure, image.transpose(1, 2, 0)) for image, one in zip(images, found, strict=True)
    ]
    panels += [
        ("like the other image", one.drawn(image, one.whole))
        for image, one in zip(images, found, strict=True)
    ]
    return _draw(panels, path, num_columns=2)


def _draw(panels: _Panels, path: Path, *, num_columns: int) -> list[str]:
    """Draw the panels; a remark where no font has their characters."""
    from matplotlib.figure import Figure

    font, remarks = find_font(title for title, _ in panels)
    lines = -(-len(panels) // num_columns)
    figure = Figure(figsize=(2 * num_columns, 2.25 * lines), layout="constrained")
    for axis, (title, content) in zip(
        figure.subplots(lines, num_columns, squeeze=False).flat, panels, strict=False
    ):
        axis.imshow(content)
        axis.set_title(textwrap.fill(title, 24), fontsize=10, font=font)
    save_figure(figure, path)
    return remarks
