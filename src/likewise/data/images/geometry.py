"""Places in an image and in the square that a network sees of it.

Boxes are (x, y, width, height), x to the right and y down from the upper left corner. K boxes.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = ["boxes_in_image", "boxes_in_square", "shown_part"]

Boxes = NDArray[np.float64]


def shown_part(size: tuple[int, int], fit: str) -> tuple[float, float, float, float]:
    """The part of an image that its square shows, as a box in pixels; it reaches beyond a padded image.

    Args:
        size: width and height of the image.
        fit: "crop", "pad" or "squash", see `to_square`.
    """
    width, height = size
    if fit == "squash":
        return 0.0, 0.0, float(width), float(height)
    side = min(width, height) if fit == "crop" else max(width, height)
    return (width - side) / 2, (height - side) / 2, float(side), float(side)


def boxes_in_square(boxes: ArrayLike, size: tuple[int, int], fit: str) -> Boxes:
    """Boxes of an image as shares of its square; what the square does not show is cut off.

    Args:
        boxes: (K, 4) in pixels of the image.
        size: width and height of the image.
        fit: how it became square.

    Returns:
        (K, 4) in [0, 1]; a box outside the square has no area.
    """
    given = np.asarray(boxes, np.float64).reshape(-1, 4)
    left, top, width, height = shown_part(size, fit)
    corners = np.stack([given[:, :2], given[:, :2] + given[:, 2:]], axis=1)  # (K, 2, 2)
    shares = np.clip((corners - (left, top)) / (width, height), 0, 1)
    return np.concatenate([shares[:, 0], shares[:, 1] - shares[:, 0]], axis=1)


def boxes_in_image(boxes: ArrayLike, size: tuple[int, int], fit: str) -> Boxes:
    """The inverse: shares of the square to pixels of the image, cut off at the image's edges.

    Args:
        boxes: (K, 4) in [0, 1].
        size: width and height of the image.
        fit: how it became square.

    Returns:
        (K, 4).
    """
    given = np.asarray(boxes, np.float64).reshape(-1, 4)
    left, top, width, height = shown_part(size, fit)
    corners: Any = np.stack([given[:, :2], given[:, :2] + given[:, 2:]], axis=1)
    pixels = np.clip(corners * (width, height) + (left, top), 0, np.array(size, np.float64))
    return np.concatenate([pixels[:, 0], pixels[:, 1] - pixels[:, 0]], axis=1)
