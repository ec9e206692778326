"""The phrases of a dataset with their boxes, as grounding is measured on them.

P phrases, K boxes of a phrase.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from likewise.data import Dataset
from likewise.data.images.geometry import boxes_in_square

__all__ = ["Phrases", "phrases_of"]

Boxes = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Phrases:
    """P phrases of a dataset's images.

    Attributes:
        texts: the phrases.
        rows: (P,) the row of each.
        boxes: of each its (K, 4) boxes, as shares of the square.
        others: of each the (K', 4) boxes of other phrases of its image.
        shares: of each the share of the square that its image fills, below 1 where it is padded.
        num_hidden: phrases left out, because the square shows none of their boxes.
    """

    texts: list[str]
    rows: NDArray[np.int64]
    boxes: list[Boxes]
    others: list[Boxes]
    shares: list[float]
    num_hidden: int


def phrases_of(data: Dataset, fit: str) -> Phrases:
    """The phrases of a dataset with boxes; a box without a phrase stands for the text of its row.

    Boxes of one phrase in one image belong together. Boxes of a row whose phrase is nowhere said are no
    phrase's own, and others to all.

    Args:
        data: with images and boxes.
        fit: how the images became square.
    """
    images = data.column("image")
    texts, rows, own_boxes, other_boxes, shares, hidden = [], [], [], [], [], 0
    said: Sequence[tuple[str, ...]] = data.texts or [()] * len(data)
    for row, listed in enumerate(data.column("boxes").values):
        if not listed:
            continue
        size = (data.store_size or 1,) * 2 if images.sizes is None else tuple(images.sizes[row].tolist())
        scale = np.array([[*size, *size] if box.relative else [1.0] * 4 for box in listed])
        squares = boxes_in_square(np.array([box.box for box in listed]) * scale, size, fit)
        image = boxes_in_square((0, 0, *size), size, fit)[0]
        names = np.array([box.phrase or " ".join(said[row][:1]) for box in listed])
        seen = squares[:, 2] * squares[:, 3] > 0
        for name in dict.fromkeys(names.tolist()):
            own = squares[(names == name) & seen]
            if not name or not len(own):
                hidden += bool(name)
                continue
            texts.append(name)
            rows.append(row)
            own_boxes.append(own)
            other_boxes.append(squares[(names != name) & seen])
            shares.append(float(image[2] * image[3]))
    return Phrases(
        texts=texts,
        rows=np.array(rows, np.int64),
        boxes=own_boxes,
        others=other_boxes,
        shares=shares,
        num_hidden=hidden,
    )
