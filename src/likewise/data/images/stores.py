"""Where a dataset's images come from at training time: the cache, memory, or decoding at every use."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, cast

import numpy as np
from numpy.typing import NDArray

from likewise.data.images.cache_build import Codec
from likewise.data.record import ImageRef
from likewise.errors import RecordError

__all__ = ["CachedPixels", "DecodedPixels", "HeldPixels", "JoinedPixels", "Pixels", "held", "joined_pixels"]


class Pixels(Protocol):
    """Images by row, as squares of one size; or sounds, as waves of one length."""

    size: int

    def take(self, rows: NDArray[np.int64], out: NDArray[Any]) -> None:
        """Write rows (n,) into out (n, 3, S, S) uint8, of sounds (n, L) int16."""


class HeldPixels:
    """Images in memory (N, 3, S, S), or sounds (N, L)."""

    def __init__(self, images: NDArray[Any]) -> None:
        self._images = images
        self.size = int(images.shape[-1])

    def take(self, rows: NDArray[np.int64], out: NDArray[Any]) -> None:
        """See Pixels."""
        # The default mode would buffer the whole result; the dataset has checked the rows.
        np.take(self._images, rows, axis=0, out=out, mode="clip")


class CachedPixels(HeldPixels):
    """Images (or sounds) in a memory-mapped cache; unpickling opens the file again."""

    def __init__(self, folder: Path, name: str = "images") -> None:
        self._folder, self._name = folder, name
        super().__init__(np.load(folder / f"{name}.npy", mmap_mode="r"))

    def __reduce__(self) -> tuple[type[CachedPixels], tuple[Path, str]]:
        return CachedPixels, (self._folder, self._name)


@dataclass
class DecodedPixels:
    """Images (or sounds) decoded at every use, by a few threads (Pillow works without Python's lock)."""

    refs: Sequence[ImageRef]
    codec: Codec
    num_threads: int

    def __post_init__(self) -> None:
        self._pool: ThreadPoolExecutor | None = None
        self.size = int(next(iter(self.codec.shapes.values()))[0][-1])

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_pool": None}

    def take(self, rows: NDArray[np.int64], out: NDArray[Any]) -> None:
        """See Pixels. An image that has become unreadable since the data was listed raises RecordError."""
        if self._pool is None:
            self._pool = ThreadPoolExecutor(self.num_threads, thread_name_prefix="decode")

        def fill(place: int) -> None:
            ref = self.refs[int(rows[place])]
            try:
                out[place] = self.codec.decode(ref.read())[0]
            except RecordError as error:
                raise RecordError(f"{ref.key.split(chr(9))[0]}: {error}") from error

        # In the source's order: a row group of Parquet is read whole, so its images should follow each other.
        for _ in self._pool.map(fill, np.argsort(rows, kind="stable").tolist(), chunksize=1):
            pass


_PART = 1 << 40  # above the number of rows of any store


class JoinedPixels:
    """Several stores of one size: row r of the n-th is row n * 2^40 + r."""

    def __init__(self, parts: Sequence[Pixels]) -> None:
        self.parts = list(parts)
        self.size = self.parts[0].size

    def take(self, rows: NDArray[np.int64], out: NDArray[Any]) -> None:
        """See Pixels."""
        for number, part in enumerate(self.parts):
            places = np.flatnonzero(rows // _PART == number)
            if len(places):
                taken = np.empty((len(places), *out.shape[1:]), out.dtype)
                part.take(rows[places] % _PART, taken)
                out[places] = taken


def joined_pixels(first: Pixels, second: Pixels) -> tuple[JoinedPixels, int]:
    """One store of two, and the number of the second's first row in it."""
    both = [part.parts if isinstance(part, JoinedPixels) else [part] for part in (first, second)]
    return JoinedPixels(both[0] + both[1]), len(both[0]) * _PART


def held(images: Any) -> NDArray[np.uint8]:
    """A generated (N, 3, S, S) uint8 tensor or array as a contiguous array."""
    return cast("NDArray[np.uint8]", np.ascontiguousarray(np.asarray(images, dtype=np.uint8)))
