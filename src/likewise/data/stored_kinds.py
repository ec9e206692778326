"""The kinds of columns whose values are files, decoded once: images and sounds.

N rows of a dataset, B rows of a batch, S side of the stored images, L samples of the stored sounds.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from likewise.data.column_kinds import Kind, Parsing
from likewise.data.images.refs import ArrowImage, ParquetImage
from likewise.data.images.stores import Pixels, joined_pixels
from likewise.data.record import ImageRef
from likewise.data.tables.names import is_missing, without_caption_number
from likewise.errors import RecordError

if TYPE_CHECKING:
    from typing_extensions import Self

__all__ = ["Images", "Sounds", "Stored"]

Rows = NDArray[np.int64]


@dataclass(frozen=True, kw_only=True)
class Stored(Kind):
    """Images or sounds: decoded once, stored as N or fewer arrays of one shape.

    Attributes:
        pixels: the stored arrays, whatever they hold.
        rows: (N,) int64, each record's row in `pixels`; -1 where it has none.
        content: (N,) uint64 hashes of the encoded files (of the arrays where they are generated).
        refs: the ways to the encoded files; None where they are generated.
    """

    pixels: Pixels
    rows: Rows
    content: NDArray[np.uint64] | None = None
    refs: list[ImageRef | None] | None = None
    what: ClassVar[str]
    """For messages, such as "image"."""
    per_row: ClassVar[tuple[str, ...]] = ()
    """Further arrays of N rows."""

    @classmethod
    def parse(cls, cells: Sequence[Any], how: Parsing) -> ImageRef | None:
        """See Kind."""
        cell = cells[0]
        if is_missing(cell) or cell == "":
            return None
        if isinstance(cell, (ParquetImage, ArrowImage)):
            return cell
        if not isinstance(cell, str):
            raise RecordError(f"no {cls.what}: a path was expected in the cell, got {type(cell).__name__}")
        return how.resolve(without_caption_number(cell.strip()))

    @classmethod
    def store(cls, values: Sequence[Any], names: list[str] | None = None) -> Self:
        """See Kind."""
        raise NotImplementedError("files are opened by likewise.data.filtering, which decodes them")

    def take(self, rows: Rows) -> Self:
        """See Kind."""
        own: dict[str, Any] = {
            name: None if (all_ := getattr(self, name)) is None else all_[rows] for name in self.per_row
        }
        return replace(
            self,
            rows=self.rows[rows],
            content=None if self.content is None else self.content[rows],
            refs=None if self.refs is None else [self.refs[row] for row in rows.tolist()],
            **own,
        )

    def without(self, masked: NDArray[np.bool_]) -> Self:
        """See Kind."""
        return replace(self, rows=np.where(masked, -1, self.rows))

    def join(self, other: Self) -> Self:
        """See Kind. Both have stored arrays of the same shape."""
        pixels, theirs = self.pixels, other.rows
        if other.pixels is not pixels:
            pixels, start = joined_pixels(pixels, other.pixels)
            theirs = np.where(theirs < 0, theirs, theirs + start)
        own: dict[str, Any] = {
            name: _both(getattr(self, name), getattr(other, name)) for name in self.per_row
        }
        return replace(
            self,
            pixels=pixels,
            rows=np.concatenate([self.rows, theirs]),
            content=_both(self.content, other.content),
            refs=None if self.refs is None or other.refs is None else self.refs + other.refs,
            **own,
        )

    def _collated(self, rows: Rows, shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
        """(B, *shape) of these rows; zeros where a row has none."""
        wanted = self.rows[rows]
        out = torch.empty((len(wanted), *shape), dtype=dtype)
        self.pixels.take(np.maximum(wanted, 0), out.numpy())
        if (wanted < 0).any():
            out[torch.from_numpy(wanted < 0)] = 0
        return out

    def describe(self) -> list[Any] | None:
        """Hashes; None where they are not known."""
        return None if self.content is None else list(self.content.tolist())


@dataclass(frozen=True, kw_only=True)
class Images(Stored):
    """Images, stored as squares.

    Attributes:
        sizes: (N, 2) int32, width and height of the original images, where known.
    """

    sizes: NDArray[np.int32] | None = None
    what = "image"
    per_row = ("sizes",)

    def collate(self, rows: Rows) -> Tensor:
        """(B, 3, S, S) uint8, upright RGB; zeros where a row has no image."""
        return self._collated(rows, (3, self.pixels.size, self.pixels.size), torch.uint8)


@dataclass(frozen=True, kw_only=True)
class Sounds(Stored):
    """Sounds, stored as mono waves of one rate and length, full scale at 32,767.

    Attributes:
        rate: samples a second.
        seconds: (N,) float32, length of the original sounds.
    """

    rate: int
    seconds: NDArray[np.float32] | None = None
    what = "sound"
    per_row = ("seconds",)

    def collate(self, rows: Rows) -> Tensor:
        """(B, L) int16; silence where a row has no sound."""
        return self._collated(rows, (self.pixels.size,), torch.int16)


def _both(first: NDArray[Any] | None, second: NDArray[Any] | None) -> NDArray[Any] | None:
    return None if first is None or second is None else np.concatenate([first, second])
