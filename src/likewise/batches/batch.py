"""One batch, as it flows from the data to a method.

B batch, L tokens (the longest text of this batch), S side of the stored images in pixels.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace

import torch
from torch import Tensor

__all__ = ["Batch"]

_NEXT_OCCURRENCE = 1 << 40  # above every place in a dataset, so that no two keys are equal


@dataclass(frozen=True, kw_only=True)
class Batch:
    """Rows of a dataset, side by side. Parts that the data does not have are None.

    Attributes:
        index: (B,) int64, the rows' places in their dataset.
        occurrence: (B,) int64, which time a row stands in the step's batch (of all replicas), from 0; None
            where none comes again.
        images: (B, 3, S, S) uint8 in [0, 255], upright, RGB.
        tokens: (B, L) int64, padded with the tokenizer's padding id to the longest text of the batch.
        mask: (B, L) bool, True on real tokens.
        group: (B,) int64; equal numbers mean the same thing (captions of one photo): never negatives.
        label: (B,) int64, -1 where a row has none.
        domain: (B,) int64.
        keep_sides: (B,) bool, True where the caption names a side, so the picture must not be flipped.
        keep_colours: (B,) bool, True where the caption names a colour, so hues must not be shifted.
    """

    index: Tensor
    occurrence: Tensor | None = None
    images: Tensor | None = None
    tokens: Tensor | None = None
    mask: Tensor | None = None
    group: Tensor | None = None
    label: Tensor | None = None
    domain: Tensor | None = None
    keep_sides: Tensor | None = None
    keep_colours: Tensor | None = None

    def __len__(self) -> int:
        return int(self.index.shape[0])

    @property
    def key(self) -> Tensor:
        """(B,) int64, what random draws are keyed by: the row's place, and another number each time it comes
        again, so that it is no copy of itself but has other views, another caption, other words hidden."""
        return self.index if self.occurrence is None else self.index + self.occurrence * _NEXT_OCCURRENCE

    def to(self, device: torch.device | str) -> Batch:
        """The same batch on another device; to CUDA from pinned memory the copy does not wait."""
        # Elsewhere nothing waits for such a copy before the memory is used again.
        ahead = torch.device(device).type == "cuda"
        return self._map(lambda tensor: tensor.to(device, non_blocking=ahead))

    def pin_memory(self) -> Batch:
        """The same batch in page-locked memory, for copies that overlap with computation."""
        return self._map(lambda tensor: tensor.pin_memory())

    def rows(self, start: int, stop: int) -> Batch:
        """The rows `start:stop`, as views (no copy)."""
        return self._map(lambda tensor: tensor[start:stop])

    def _map(self, function) -> Batch:  # type: ignore[no-untyped-def]
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        return replace(self, **{name: function(value) for name, value in values.items() if value is not None})
