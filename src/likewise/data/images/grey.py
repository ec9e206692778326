"""Images without color."""

from __future__ import annotations

import numpy as np
from torch import Tensor

from likewise.data.dataset import Dataset

__all__ = ["grey_notes", "is_grey"]

_MOST_IMAGES = 64
_MAX_SPREAD = 2.0


def is_grey(images: Tensor) -> Tensor:
    """Which images are grey, up to the noise of JPEG compression.

    Args:
        images: (N, 3, S, S) uint8.

    Returns:
        (N,) bool: the mean difference of the largest and the smallest channel is below 2 of 255.
    """
    values = images.float()
    return (values.amax(dim=1) - values.amin(dim=1)).mean(dim=(1, 2)) < _MAX_SPREAD


def grey_notes(data: Dataset) -> list[str]:
    """A remark where most images are grey, told by up to 64 of them."""
    if not data.has("image") or len(data) == 0:
        return []
    rows = np.unique(np.linspace(0, len(data) - 1, min(len(data), _MOST_IMAGES)).astype(np.int64))
    grey = int(is_grey(data.images(rows)).sum())
    if grey <= len(rows) / 2:
        return []
    return [
        f"{grey} of {len(rows)} images looked at are grey; multiview compares color and learns little here"
    ]
