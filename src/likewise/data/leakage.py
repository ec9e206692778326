"""Overlap of evaluation rows with training rows."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from likewise.data.dataset import Dataset

__all__ = ["said_of_overlap", "trained_on"]


def said_of_overlap(
    held_out: Dataset, train: Dataset, *, groups_tell: bool, row: str, figures: str
) -> str | None:
    """A warning about validation rows that are training rows too; None where there are none.

    Args:
        held_out: N validation rows.
        train: the training rows.
        groups_tell: whether equal groups mean the same thing. Groups of two sources may share a name by
            chance; groups of generated scenes are equal captions only.
        row: what a row of `train` is called.
        figures: the figures that overlap makes too good.
    """
    seen = trained_on(held_out, train)
    if groups_tell:
        seen |= np.isin(held_out.groups, train.groups)
    if not seen.any():
        return None
    return (
        f"{int(seen.sum()):,} of the {len(seen):,} held-out rows have the image, text or group of a "
        f"{row}, so {figures} are better than they would be on new data"
    )


def trained_on(part: Dataset, train: Dataset) -> NDArray[np.bool_]:
    """Which rows are in the training part too.

    An image counts where its file equals one of the training part's. Without images, a row counts where all
    of its texts are in the training part. Groups do not count: their names differ between sources.

    Args:
        part: N rows, of any source.
        train: the training part.

    Returns:
        (N,) bool.
    """
    if part.content is not None and train.content is not None:
        return np.isin(part.content, train.content)
    if part.texts is None or train.texts is None:
        return np.zeros(len(part), dtype=bool)
    seen = {text for row in train.texts for text in row}
    return np.asarray([len(row) > 0 and seen.issuperset(row) for row in part.texts], dtype=bool)
