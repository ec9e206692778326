"""Phrase grounding from maps over an image: the peak, a region around it, given boxes ranked, and figures.

Boxes are (x, y, width, height) as shares of the square. P maps, g side of a map, K boxes, R side of the grid
on which maps are compared.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

__all__ = ["RESOLUTION", "box_scores", "grounding_figures", "holds", "peak", "peak_region", "smooth_maps"]

RESOLUTION = 64
"""R of `smooth_maps`."""

Map = NDArray[np.float32]
Boxes = NDArray[np.float64]


def smooth_maps(maps: Map, size: int = RESOLUTION) -> Map:
    """(P, g, g) to (P, R, R), interpolated linearly between the middles of the cells."""
    given = torch.from_numpy(np.ascontiguousarray(maps, np.float32))[:, None]
    smooth = F.interpolate(given, (size, size), mode="bilinear", align_corners=False)
    return np.asarray(smooth[:, 0].numpy(), np.float32)


def peak(heat: Map) -> tuple[float, float] | None:
    """Where a map is highest, x and y as shares; None for a map without a highest place (all equal).

    Args:
        heat: (R, R).
    """
    if heat.max() == heat.min():
        return None
    row, column = np.unravel_index(int(heat.argmax()), heat.shape)
    return (float(column) + 0.5) / heat.shape[1], (float(row) + 0.5) / heat.shape[0]


def peak_region(heat: Map, *, share: float = 0.5) -> tuple[float, float, float, float] | None:
    """The box around the connected places above a share of the highest, the highest among them.

    Args:
        heat: (R, R), at least 0.
        share: in [0, 1].

    Returns:
        (x, y, width, height); None for a map without a highest place.
    """
    from scipy.ndimage import label

    if heat.max() == heat.min():
        return None
    numbered, _ = label(heat >= share * heat.max())
    rows, columns = np.nonzero(numbered == numbered.flat[int(heat.argmax())])
    R = len(heat)
    left, top = int(columns.min()), int(rows.min())
    width, height = int(columns.max()) + 1 - left, int(rows.max()) + 1 - top
    return left / R, top / R, width / R, height / R


def box_scores(heat: Map, boxes: Boxes, *, power: float = 0.5) -> NDArray[np.float64]:
    """The sum of a map over each box, divided by area^power.

    With power 0 the largest box wins, with power 1 the smallest; 0.5 is the published choice (Yu 2018, arXiv
    1801.08186, MAttNet's proposals ranked as in ALBEF's and TCL's code).

    Args:
        heat: (R, R).
        boxes: (K, 4); may end between two places of the grid, and then take their shares.
        power: of the area.

    Returns:
        (K,); 0 for a box without area.
    """
    R = len(heat)
    sums = np.zeros((R + 1, R + 1))
    sums[1:, 1:] = heat.astype(np.float64).cumsum(0).cumsum(1) / R**2
    left, top = boxes[:, 0], boxes[:, 1]
    right, bottom = left + boxes[:, 2], top + boxes[:, 3]

    def up_to(x: NDArray[np.float64], y: NDArray[np.float64]) -> NDArray[np.float64]:
        """The sum over all that is above and left of (x, y)."""
        x, y = np.clip(x, 0, 1) * R, np.clip(y, 0, 1) * R
        column, row = np.minimum(x.astype(int), R - 1), np.minimum(y.astype(int), R - 1)
        across, down = x - column, y - row
        above = sums[row, column] * (1 - across) + sums[row, column + 1] * across
        below = sums[row + 1, column] * (1 - across) + sums[row + 1, column + 1] * across
        return np.asarray(above * (1 - down) + below * down)

    total = up_to(right, bottom) - up_to(left, bottom) - up_to(right, top) + up_to(left, top)
    area = boxes[:, 2] * boxes[:, 3]
    return np.where(area > 0, total / np.maximum(area, 1e-12) ** power, 0.0)


def holds(boxes: Boxes, point: tuple[float, float] | None) -> bool:
    """Whether a point lies in one of (K, 4) boxes; no point lies in none."""
    if point is None:
        return False
    x, y = point
    inside = (
        (boxes[:, 0] <= x)
        & (x < boxes[:, 0] + boxes[:, 2])
        & (boxes[:, 1] <= y)
        & (y < boxes[:, 1] + boxes[:, 3])
    )
    return bool(inside.any())


def _covered(boxes: Boxes, size: int = 256) -> float:
    """Share of the square that (K, 4) boxes cover together: places of a fine grid whose middle is in one."""
    middles = (np.arange(size) + 0.5) / size
    across = (boxes[:, 0, None] <= middles) & (middles < (boxes[:, 0] + boxes[:, 2])[:, None])  # (K, size)
    down = (boxes[:, 1, None] <= middles) & (middles < (boxes[:, 1] + boxes[:, 3])[:, None])
    return float((down[:, :, None] & across[:, None, :]).any(axis=0).mean())


def grounding_figures(
    maps: Map,
    boxes: Sequence[Boxes],
    others: Sequence[Boxes] | None = None,
    shares: Sequence[float] | None = None,
) -> dict[str, float]:
    """Pointing game, and accuracy at given boxes.

    Args:
        maps: (P, R, R), one for each phrase.
        boxes: of each phrase the (K, 4) boxes that it names, at least one of them with an area.
        others: of each phrase the (K', 4) other boxes of its image; none when None.
        shares: of each phrase the share of the square that its image fills, above 0; all of it when None.

    Returns:
        `pointing`, the share of phrases whose peak lies in one of its boxes (Zhang 2016, arXiv 1608.00507);
        its chance, the mean share of the image that a phrase's boxes cover; `center_pointing`, the same for
        the middle of the square. Where phrases have other boxes, `box_accuracy` of those phrases, the share
        whose highest box is its own, ties counting against it; its chance, the mean share of own boxes; and
        `largest_box_accuracy`. Counts of both.

    Raises:
        ValueError: there is no phrase.
    """
    if not len(boxes):
        raise ValueError("no phrase has a box that the square shows")
    hits = [holds(own, peak(heat)) for heat, own in zip(maps, boxes, strict=True)]
    figures = {
        "pointing": float(np.mean(hits)),
        "chance_pointing": float(np.mean([_covered(own) for own in boxes] / np.array(shares or 1.0))),
        "center_pointing": float(np.mean([holds(own, (0.5, 0.5)) for own in boxes])),
        "num_phrases": float(len(boxes)),
    }
    chosen, chance, largest = [], [], []
    for heat, own, other in zip(maps, boxes, others or [own[:0] for own in boxes], strict=True):
        if not len(other):
            continue
        chosen.append(box_scores(heat, own).max() > box_scores(heat, other).max())
        chance.append(len(own) / (len(own) + len(other)))
        largest.append((own[:, 2] * own[:, 3]).max() > (other[:, 2] * other[:, 3]).max())
    if chosen:
        figures |= {
            "box_accuracy": float(np.mean(chosen)),
            "chance_box_accuracy": float(np.mean(chance)),
            "largest_box_accuracy": float(np.mean(largest)),
            "num_choices": float(len(chosen)),
        }
    return figures
