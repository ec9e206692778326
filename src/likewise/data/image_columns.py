"""Opening a source's columns of images: decoded once, stored as squares of one size."""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from likewise.data.config import DataConfig
from likewise.data.images.cache import cache_folder, open_cache
from likewise.data.images.cache_build import Squares, content_hash, num_workers
from likewise.data.images.decode import read_size
from likewise.data.images.refs import KEPT_BYTES, parquet_bytes
from likewise.data.images.stores import CachedPixels, DecodedPixels, HeldPixels, Pixels
from likewise.data.record import Generated, ImageRef
from likewise.data.stored_kinds import Images
from likewise.errors import ConfigError, RecordError

__all__ = ["check_store_size", "open_images", "usual_store_size", "warn_of_row_groups"]

_SAMPLED_SIZES = 64
_SAMPLED_IMAGES = 32
_DARK = 32  # of 255


def open_images(
    refs: Sequence[ImageRef | None],
    generated: NDArray[np.uint8] | None,
    size: int,
    config: DataConfig,
    progress: bool,
) -> tuple[Images, dict[int, str], list[str]]:
    """One column of images.

    Args:
        refs: of N records, None where a record has none.
        generated: the images of a source that holds them in memory, which generated images are rows of.
        size: side of the stored squares.
        config: the user's options.
        progress: show a progress bar while images are decoded.

    Returns:
        The column; the records whose image cannot be read, and why; remarks for the user.
    """
    there = np.flatnonzero([ref is not None for ref in refs])
    known = list(dict.fromkeys(ref for ref in refs if ref is not None))  # questions share their image
    rows = np.full(len(refs), -1, np.int64)
    content = np.zeros(len(refs), np.uint64)
    if generated is not None:
        rows[there] = [ref.row for ref in refs if isinstance(ref, Generated)]
        hashes = {row: content_hash(generated[row].data) for row in set(rows[there].tolist())}
        content[there] = [hashes[row] for row in rows[there].tolist()]
        return Images(pixels=HeldPixels(generated), rows=rows, content=content), {}, []
    folder = cache_folder(config.cache_dir)
    cache = open_cache(known, size=size, fit=config.fit, folder=folder, store=config.cache, progress=progress)
    pixels: Pixels = (
        CachedPixels(cache.folder)
        if cache.has_pixels
        else DecodedPixels(known, Squares(size, config.fit), num_workers())
    )
    sizes = np.zeros((len(refs), 2), np.int32)
    places = {ref: place for place, ref in enumerate(known)}
    rows[there] = [places[ref] for ref in refs if ref is not None]
    content[there], sizes[there] = cache.hashes[rows[there]], cache.others["sizes"][rows[there]]
    bad = {int(row): cache.bad[int(rows[row])] for row in there if int(rows[row]) in cache.bad}
    readable = np.asarray([row for row in range(len(known)) if row not in cache.bad], dtype=np.int64)
    images = Images(pixels=pixels, rows=rows, content=content, refs=list(refs), sizes=sizes)
    return images, bad, _darkness_notes(pixels, readable)


def _darkness_notes(pixels: Pixels, rows: NDArray[np.int64]) -> list[str]:
    """A note where most images are nearly black, as 16-bit files that hold 12 bits or fewer are."""
    if len(rows) == 0:
        return []
    chosen = rows[:: max(1, len(rows) // _SAMPLED_IMAGES)]
    squares = np.empty((len(chosen), 3, pixels.size, pixels.size), np.uint8)
    try:
        pixels.take(chosen, squares)
    except RecordError:  # gone since it was listed; whoever trains on it is told
        return []
    brightest = int(np.median(squares.reshape(len(chosen), -1).max(axis=1)))
    if brightest >= _DARK:
        return []
    return [
        f"these images are nearly black: the brightest value of most is {brightest} of 255 or less. Files "
        "of 16 bits that use fewer of them (10, 12) must be stretched first"
    ]


def warn_of_row_groups(refs: Sequence[ImageRef]) -> None:
    """Training reads images in random order, and Parquet reads a whole row group for one image."""
    num_bytes = parquet_bytes(refs)
    if num_bytes > KEPT_BYTES:
        warnings.warn(
            f"images in {num_bytes / 1e9:.2f} GB of Parquet are decoded at every use, and of the row "
            f"groups that hold them {KEPT_BYTES / 1e9:.2f} GB are kept: each batch reads most of its row "
            "groups again, which is slow. The cache (without --data.no-cache) reads each once",
            stacklevel=4,
        )


def check_store_size(refs: Sequence[ImageRef], config: DataConfig, image_size: int | None) -> None:
    """Images stored below the training size would be blown up again; small ones may keep their own size."""
    asked = config.store_size
    if asked is None or image_size is None or asked >= image_size:
        return
    usual = usual_store_size(refs, image_size, config.fit)
    if asked < usual:
        raise ConfigError(
            f"--data.store-size {asked} is below the {image_size} pixels that are trained on, and images "
            f"would be blown up from it; leave it out (it is {usual} then), or lower --image.image-size"
        )


def usual_store_size(refs: Sequence[ImageRef], image_size: int | None, fit: str) -> int:
    """1.25 times the training size, so that crops stay sharp, but not above the largest image in a sample.

    Enlarging at this point would take space and add nothing: views enlarge just as well.
    """
    if image_size is None:
        raise ValueError("image_size is needed with images")
    wanted = math.ceil(1.25 * image_size / 8) * 8
    sides = []
    # Four runs across the source: neighbours share a piece of a Parquet file, distant ones differ in kind.
    run = _SAMPLED_SIZES // 4
    starts = {int(quarter * max(0, len(refs) - run) / 3) for quarter in range(4)}
    for ref in (ref for start in sorted(starts) for ref in refs[start : start + run]):
        try:
            width, height = read_size(ref.read())
        except RecordError:
            continue  # it will be set aside with its reason when it is decoded
        sides.append(min(width, height) if fit == "crop" else max(width, height))
    return max(8, min(wanted, max(sides, default=wanted)))
