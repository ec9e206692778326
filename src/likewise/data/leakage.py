"""Which rows of a part were trained on."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from likewise.data.dataset import Dataset

__all__ = ["said_of_overlap", "trained_on"]


def said_of_overlap(
    held_out: Dataset, train: Dataset, *, groups_tell: bool, row: str, figures: str
) -> str | None:
    """What to know of held-out rows that are learnt from too; None where there are none.

    Args:
        held_out: N rows.
        train: what is learnt from.
        groups_tell: whether equal groups are one thing. Those of two sources may share a name by chance;
            those of generated scenes are equal captions alone.
        row: what a row of `train` is called.
        figures: which figures are too good by it.
    """
    seen = trained_on(held_out, train)
    if groups_tell:
        seen |= np.isin(held_out.groups, train.groups)
    if not seen.any():
        return None
    return (
        f"{int(seen.sum()):,} of the {len(seen):,} held-out rows have the picture, text or group of a "
        f"{row}, so {figures} are better than they would be on new data"
    )


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
