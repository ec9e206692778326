"""The images of sources, decoded batch by batch: for models that are used on new images, without a cache."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from likewise.data.images.decode import decode_square
from likewise.data.record import BadRecord, Record
from likewise.errors import RecordError

__all__ = ["ImageBatch", "image_batches"]


class ImageBatch(NamedTuple):
    """Decoded images and what could not be decoded.

    Attributes:
        records: B, in the order of the source.
        images: (B, 3, S, S) uint8.
        bad: records of this piece of the source without a usable image.
    """

    records: list[Record]
    images: Tensor
    bad: list[BadRecord]


def image_batches(
    records: Sequence[Record], *, size: int, fit: str, batch_size: int, num_threads: int = 2
) -> Iterator[ImageBatch]:
    """Decode the images of records.

    Args:
        records: of a source, each with an image.
        size: S, side of the squares in pixels.
        fit: crop, pad or squash.
        batch_size: records a batch; bad ones leave a smaller batch, perhaps an empty one.
        num_threads: decode so many images at a time.
    """

    def decoded(record: Record) -> np.ndarray | RecordError:
        try:
            if record.image is None:
                raise RecordError("no image")
            return decode_square(record.image.read(), size=size, fit=fit)[0]
        except RecordError as error:
            return error

    with ThreadPoolExecutor(num_threads) as pool:
        for start in range(0, len(records), batch_size):
            piece = records[start : start + batch_size]
            found = list(zip(piece, pool.map(decoded, piece), strict=True))
            good = [(record, square) for record, square in found if not isinstance(square, RecordError)]
            bad = [
                BadRecord(record.id, record.place, str(reason))
                for record, reason in found
                if isinstance(reason, RecordError)
            ]
            squares = (
                np.stack([square for _, square in good]) if good else np.empty((0, 3, size, size), np.uint8)
            )
            yield ImageBatch([record for record, _ in good], torch.from_numpy(squares), bad)
