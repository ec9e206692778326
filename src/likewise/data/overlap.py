"""Which rows of a part were trained on."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from likewise.data.dataset import Dataset

__all__ = ["trained_on"]


def trained_on(part: Dataset, train: Dataset) -> NDArray[np.bool_]:
    """Which rows of a part training has seen.

    A picture counts as seen where its file is equal to one of the training part's. Without pictures, a row
    counts where all of its texts are there. Groups are not asked: their names differ from source to source.

    Args:
        part: N rows, of any source.
        train: what was trained on.

    Returns:
        (N,) bool.
    """
    if part.content is not None and train.content is not None:
        return np.isin(part.content, train.content)
    if part.texts is None or train.texts is None:
        return np.zeros(len(part), dtype=bool)
    seen = {text for row in train.texts for text in row}
    return np.asarray([len(row) > 0 and seen.issuperset(row) for row in part.texts], dtype=bool)
