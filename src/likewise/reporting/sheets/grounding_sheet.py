"""A drawing of where phrases are in an image: the map, its highest place, the region, the given boxes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import ImageFont

from likewise.data.images.geometry import shown_part
from likewise.metrics.grounding import smooth_maps
from likewise.model.explanations.grounding import Grounding
from likewise.reporting.sheets.figure_files import save_figure
from likewise.reporting.sheets.fonts import find_font
from likewise.reporting.sheets.sheet import wrap

__all__ = ["draw_groundings"]

_MAX_PHRASES = 12
_SIDE, _GAP, _LINE, _LEGEND = 3.2, 0.1, 0.17, 0.6  # of an image, beside it, of text, below all; in inches
_FONT_SIZE, _MAX_LINES = 10, 8
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
        boxes: the given boxes, numbered from 0; the best of a phrase is green, others are white.

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
    height = _SIDE * min(max(image.height / image.width, 0.3), 2)
    measure, width = ImageFont.truetype(str(font), _FONT_SIZE), int(70 * _SIDE)  # 72 points are an inch
    titles = [
        [*wrap(one.phrase, measure, width, _MAX_LINES), f"match {one.probability:.0%}"] for one in shown
    ]
    step = _SIDE + _GAP, height + _LINE * (max(map(len, titles)) + 1)
    total = columns * step[0] + _GAP, lines * step[1] + _LEGEND
    figure = Figure(figsize=total)
    for place, (one, title) in enumerate(zip(shown, titles, strict=True)):
        left = _GAP + place % columns * step[0]
        bottom = total[1] - (place // columns + 1) * step[1]
        axis = figure.add_axes((left / total[0], bottom / total[1], _SIDE / total[0], height / total[1]))
        _draw(axis, image, one, fit, boxes)
        axis.set_title("\n".join(title), fontsize=_FONT_SIZE, font=font)
    drawn = {
        label: handle
        for axis in figure.axes
        for handle, label in zip(*axis.get_legend_handles_labels(), strict=True)
    }
    figure.legend(drawn.values(), drawn, loc="lower center", ncols=2, fontsize=8, facecolor="#c8c8c8")
    save_figure(figure, path)
    return remarks


def _draw(axis: Any, image: Any, one: Grounding, fit: str, boxes: Sequence[Sequence[float]]) -> None:
    from matplotlib.patches import Rectangle

    def frame(box: Sequence[float], color: str, label: str, style: str = "-", width: float = 2.0) -> None:
        """A colored frame on a dark one, so that it is seen on any image."""
        for line, paint, name in ((width + 1.6, "#000000", None), (width, color, label)):
            look: dict[str, Any] = {"edgecolor": paint, "linewidth": line, "linestyle": style, "label": name}
            axis.add_patch(Rectangle((box[0], box[1]), box[2], box[3], fill=False, **look))

    axis.imshow(np.asarray(image), extent=(0, image.width, image.height, 0))
    left, top, width, height = shown_part(image.size, fit)
    heat = smooth_maps(one.heat[None], 128)[0]
    strength = np.sqrt(heat / max(float(heat.max()), 1e-12))
    extent = (left, left + width, top + height, top)
    axis.imshow(heat, extent=extent, cmap="inferno", alpha=0.6 * strength)
    for place, (x, y, *sides) in enumerate(boxes):
        if min(x + sides[0], y + sides[1]) <= 0 or x >= image.width or y >= image.height:
            continue
        best = place == one.best_box
        color, label, line = (_BEST, "best given box", 2.4) if best else (_OTHER, "other given box", 1.2)
        frame((x, y, *sides), color, label, width=line)
        back = {"facecolor": color, "linewidth": 0, "pad": 1}
        axis.text(max(x, 0), max(y, 0), str(place), fontsize=8, va="top", clip_on=True, bbox=back)
    if one.region is not None and one.point is not None:
        frame(one.region, _REGION, "region around it", style="--")
        mark: dict[str, Any] = {
            "color": _REGION,
            "markeredgecolor": "#000000",
            "linestyle": "",
            "label": "highest place",
        }
        axis.plot(*one.point, marker="o", markersize=7, **mark)
    axis.set_xlim(0, image.width)
    axis.set_ylim(image.height, 0)
