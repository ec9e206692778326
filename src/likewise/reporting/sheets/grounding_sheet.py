"""A drawing of where phrases are in an image: the map, its highest place, the region, the given boxes."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from likewise.data.images.geometry import shown_part
from likewise.metrics.grounding import smooth_maps
from likewise.model.explanations.grounding import Grounding
from likewise.reporting.sheets.figure_files import save_figure
from likewise.reporting.sheets.fonts import find_font

__all__ = ["draw_groundings"]

_MAX_PHRASES = 12
_REGION, _BEST, _OTHER = "#00c8ff", "#39d353", "#ffffff"


def draw_groundings(
    image: Any,
    found: Sequence[Grounding],
    path: Path,
    *,
    fit: str,
    boxes: Sequence[Sequence[float]] = (),
) -> list[str]:
    """Draw one image once for each phrase.

    Args:
        image: a PIL image, upright, as large as the places are measured in.
        found: its groundings.
        path: the file to write; matplotlib writes it, so SVG and PDF are possible too.
        fit: how the image became square.
        boxes: the given boxes; the best of a phrase is green, others are white.

    Returns:
        Remarks for the user: phrases left out, characters that no font has.
    """
    from matplotlib.figure import Figure

    shown = found[:_MAX_PHRASES]
    font, remarks = find_font(one.phrase for one in shown)
    if len(found) > len(shown):
        remarks = [f"it shows the first {len(shown)} of {len(found)} phrases", *remarks]
    columns = min(4, len(shown))
    lines = -(-len(shown) // columns)
    tall = image.height / image.width
    figure = Figure(
        figsize=(3.2 * columns, (3.2 * min(max(tall, 0.3), 2) + 0.55) * lines), layout="constrained"
    )
    axes = figure.subplots(lines, columns, squeeze=False).flat
    for axis, one in zip(axes, shown, strict=False):
        _draw(axis, image, one, fit, boxes)
        title = textwrap.fill(f"{one.phrase} (match {one.probability:.0%})", 34)
        axis.set_title(title, fontsize=10, font=font)
    save_figure(figure, path)
    return remarks


def _draw(axis: Any, image: Any, one: Grounding, fit: str, boxes: Sequence[Sequence[float]]) -> None:
    from matplotlib.patches import Rectangle

    def frame(box: Sequence[float], color: str, style: str = "-", width: float = 2.0) -> None:
        """A colored frame on a dark one, so that it is seen on any image."""
        for line, paint in ((width + 1.6, "#000000"), (width, color)):
            axis.add_patch(
                Rectangle(
                    (box[0], box[1]),
                    box[2],
                    box[3],
                    fill=False,
                    edgecolor=paint,
                    linewidth=line,
                    linestyle=style,
                )
            )

    axis.imshow(np.asarray(image), extent=(0, image.width, image.height, 0))
    left, top, width, height = shown_part(image.size, fit)
    heat = smooth_maps(one.heat[None], 128)[0]
    strength = np.sqrt(heat / max(float(heat.max()), 1e-12))
    axis.imshow(
        heat,
        extent=(left, left + width, top + height, top),
        cmap="inferno",
        alpha=0.6 * strength,
    )
    for place, box in enumerate(boxes):
        frame(box, _BEST if place == one.best_box else _OTHER, width=2.4 if place == one.best_box else 1.2)
    if one.region is not None and one.point is not None:
        frame(one.region, _REGION, style="--")
        axis.plot(*one.point, marker="o", markersize=7, color=_REGION, markeredgecolor="#000000")
    axis.set_xlim(0, image.width)
    axis.set_ylim(image.height, 0)
