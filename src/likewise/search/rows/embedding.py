"""Embeds the entries of a source, batch by batch; threads decode the next images meanwhile."""

from __future__ import annotations

import warnings
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from likewise.data.audio.decode import decode_wave
from likewise.data.audio.sound_columns import in_form
from likewise.data.audio.sound_format import SoundFormat
from likewise.data.images.cache_build import content_hash, num_workers
from likewise.data.images.decode import decode_square
from likewise.data.record import BadRecord, Generated
from likewise.encoders.audio.encoder import AudioEncoder
from likewise.errors import ModelError, RecordError
from likewise.messages import printable
from likewise.search.embedder import Embedder
from likewise.search.rows.listing import Entry, Listing
from likewise.search.rows.thumbnails import thumbnail_of_bytes, thumbnail_of_pixels

__all__ = ["Embedded", "embed_entries"]

_AHEAD = 2  # batches that are decoded while one is embedded


class Embedded(NamedTuple):
    """Embedded entries.

    Attributes:
        entries: B.
        vectors: (B, D) float32 of unit length.
        contents: (B,) uint64 hashes of the encoded image or the text.
        thumbnails: B JPEG images; empty ones where there are none.
    """

    entries: list[Entry]
    vectors: NDArray[np.float32]
    contents: NDArray[np.uint64]
    thumbnails: list[bytes]


class _Decoded(NamedTuple):
    square: NDArray[Any]
    content: int
    thumbnail: bytes


def embed_entries(
    model: Embedder,
    listing: Listing,
    entries: Sequence[Entry],
    *,
    thumbnail_side: int,
    batch_size: int,
    bad: list[BadRecord],
) -> Iterator[Embedded]:
    """Embed some entries of a listing.

    Args:
        model: embeds images or sounds, or texts where the entries have neither.
        listing: of the source.
        entries: those of it to embed.
        thumbnail_side: the longer side of thumbnails in pixels; 0 for none.
        batch_size: entries a batch.
        bad: gets the entries whose image or sound cannot be read.

    Raises:
        ModelError: a vector is not finite.
    """
    if not entries:
        return
    if entries[0].image is None:
        for start in range(0, len(entries), batch_size):
            yield _of_texts(model, entries[start : start + batch_size])
        return
    encoder, images = model.encoder_of(listing.column), model.config["images"]

    def decoded(entry: Entry) -> _Decoded | RecordError:
        try:
            if isinstance(encoder, AudioEncoder):
                return _decode_sound(entry, listing, encoder.form)
            size = images["store_size"] or encoder.image_size
            return _decode(entry, listing.pixels, size, images["fit"], thumbnail_side)
        except RecordError as error:
            return error

    with warnings.catch_warnings(), ThreadPoolExecutor(num_workers()) as pool:
        warnings.filterwarnings("ignore", module="PIL")
        pending: deque[tuple[Sequence[Entry], list[Future[_Decoded | RecordError]]]] = deque()
        for start in range(0, len(entries), batch_size):
            piece = entries[start : start + batch_size]
            pending.append((piece, [pool.submit(decoded, entry) for entry in piece]))
            if len(pending) > _AHEAD:
                yield from _of_images(model, *pending.popleft(), bad)
        while pending:
            yield from _of_images(model, *pending.popleft(), bad)


def _of_texts(model: Embedder, entries: Sequence[Entry]) -> Embedded:
    texts = [entry.captions[0] for entry in entries]
    contents = np.array([content_hash(text.encode()) for text in texts], np.uint64)
    return _checked(Embedded(list(entries), model.encode_texts(texts), contents, [b""] * len(texts)))


def _of_images(
    model: Embedder,
    entries: Sequence[Entry],
    futures: Sequence[Future[_Decoded | RecordError]],
    bad: list[BadRecord],
) -> Iterator[Embedded]:
    good: list[tuple[Entry, _Decoded]] = []
    for entry, future in zip(entries, futures, strict=True):
        found = future.result()
        if isinstance(found, RecordError):
            bad.append(BadRecord(entry.id, entry.path, str(found)))
        else:
            good.append((entry, found))
    if good:
        squares = torch.from_numpy(np.stack([image.square for _, image in good]))
        yield _checked(
            Embedded(
                [entry for entry, _ in good],
                model.encode_squares(squares),
                np.array([image.content for _, image in good], np.uint64),
                [image.thumbnail for _, image in good],
            )
        )


def _decode(entry: Entry, pixels: Any, size: int, fit: str, thumbnail_side: int) -> _Decoded:
    if isinstance(entry.image, Generated):
        square = np.asarray(pixels[entry.image.row])
        thumbnail = thumbnail_of_pixels(square, thumbnail_side) if thumbnail_side else b""
        return _Decoded(square, content_hash(np.ascontiguousarray(square).data), thumbnail)
    assert entry.image is not None
    data = entry.image.read()
    # Apart from the thumbnail: the square must be the one that training saw.
    square = decode_square(data, size=size, fit=fit)[0]
    thumbnail = thumbnail_of_bytes(data, thumbnail_side) if thumbnail_side else b""
    return _Decoded(square, content_hash(data), thumbnail)


def _decode_sound(entry: Entry, listing: Listing, form: SoundFormat) -> _Decoded:
    """Sounds have no thumbnails: a waveform tells nobody what is heard."""
    if isinstance(entry.image, Generated):
        wave = np.ascontiguousarray(listing.pixels[entry.image.row])
        return _Decoded(in_form(wave[None], listing.rate, form)[0], content_hash(wave.data), b"")
    assert entry.image is not None
    data = entry.image.read()
    return _Decoded(decode_wave(data, form)[0], content_hash(data), b"")


def _checked(embedded: Embedded) -> Embedded:
    wrong = np.flatnonzero(~np.isfinite(embedded.vectors).all(axis=1))
    if len(wrong):
        name = printable(embedded.entries[wrong[0]].id, most=80)
        raise ModelError(
            f"the embedding of {name} is not finite. The model's weights are damaged, or its training "
            "diverged: use an earlier one."
        )
    return embedded
