"""Opening a source's column of sounds: decoded once, stored as waves of one rate and length."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from likewise.data.audio.decode import FULL_SCALE, Waves, fitted_wave, resampled
from likewise.data.audio.sound_format import SoundFormat
from likewise.data.config import DataConfig
from likewise.data.images.cache import cache_folder, open_file_cache
from likewise.data.images.cache_build import content_hash, num_workers
from likewise.data.images.stores import CachedPixels, DecodedPixels, HeldPixels, Pixels
from likewise.data.record import Generated, ImageRef
from likewise.data.stored_kinds import Sounds
from likewise.errors import ConfigError, RecordError

__all__ = ["in_form", "open_sounds"]

_SAMPLED = 64
_CLIPPED_SHARE = 0.001  # of a sound's samples at full scale
_CHUNK = 256


def open_sounds(
    refs: Sequence[ImageRef | None],
    generated: tuple[NDArray[np.int16], int] | None,
    form: SoundFormat | None,
    config: DataConfig,
    progress: bool,
) -> tuple[Sounds, dict[int, str], list[str]]:
    """One column of sounds.

    Args:
        refs: of N records, None where a record has none.
        generated: the waves of a source that holds them in memory, which refs are rows of, and their rate.
        form: rate and length of the sounds in training.
        config: the user's options.
        progress: show a progress bar while sounds are decoded.

    Raises:
        ConfigError: sounds would be stored shorter than training needs them.

    Returns:
        The column; the records whose sound cannot be read, and why; remarks for the user.
    """
    form = _stored_form(form, config)
    there = np.flatnonzero([ref is not None for ref in refs])
    known = list(dict.fromkeys(ref for ref in refs if ref is not None))
    rows = np.full(len(refs), -1, np.int64)
    content, seconds = np.zeros(len(refs), np.uint64), np.zeros(len(refs), np.float32)
    if generated is not None:
        waves, rate = generated
        rows[there] = [ref.row for ref in refs if isinstance(ref, Generated)]
        hashes = {row: content_hash(waves[row].data) for row in set(rows[there].tolist())}
        content[there] = [hashes[row] for row in rows[there].tolist()]
        seconds[there] = waves.shape[1] / rate
        store = HeldPixels(in_form(waves, rate, form))
        return Sounds(pixels=store, rows=rows, content=content, rate=form.rate, seconds=seconds), {}, []
    codec = Waves(form, config.longest_audio_seconds)
    folder = cache_folder(config.cache_dir)
    cache = open_file_cache(known, codec, folder=folder, store=config.cache, progress=progress)
    pixels: Pixels = (
        CachedPixels(cache.folder, "sounds")
        if cache.has_pixels
        else DecodedPixels(known, codec, num_workers())
    )
    places = {ref: place for place, ref in enumerate(known)}
    rows[there] = [places[ref] for ref in refs if ref is not None]
    content[there], seconds[there] = cache.hashes[rows[there]], cache.others["seconds"][rows[there]]
    bad = {int(row): cache.bad[int(rows[row])] for row in there if int(rows[row]) in cache.bad}
    good = np.asarray([row for row in range(len(known)) if row not in cache.bad], dtype=np.int64)
    sounds = Sounds(
        pixels=pixels, rows=rows, content=content, refs=list(refs), rate=form.rate, seconds=seconds
    )
    return sounds, bad, [*_length_notes(cache.others["seconds"][good], form), *_clipping_notes(pixels, good)]


def _stored_form(form: SoundFormat | None, config: DataConfig) -> SoundFormat:
    """The form of the stored sounds, from that of training and the options."""
    if form is None:
        raise ValueError("rate and length are needed with sounds")
    if config.audio_seconds is None:
        return form
    if config.audio_seconds < form.seconds:
        raise ConfigError(
            f"--data.audio-seconds {config.audio_seconds:g} is below the {form.seconds:g} s that are trained "
            "on; leave it out, or lower --audio.seconds"
        )
    return replace(form, seconds=config.audio_seconds)


def in_form(waves: NDArray[np.int16], rate: int, form: SoundFormat) -> NDArray[np.int16]:
    """(N, n) samples of one rate as (N, L) of another."""
    if rate == form.rate:
        return np.ascontiguousarray(fitted_wave(waves, form.length))
    out = np.empty((len(waves), form.length), np.int16)
    for start in range(0, len(waves), _CHUNK):
        changed = resampled(waves[start : start + _CHUNK].astype(np.float32), rate, form.rate)
        out[start : start + _CHUNK] = np.round(np.clip(fitted_wave(changed, form.length), -32768, FULL_SCALE))
    return out


def _length_notes(seconds: NDArray[np.float32], form: SoundFormat) -> list[str]:
    """A note where sounds are longer than what is kept of them."""
    longer = int((seconds > form.seconds + 0.5 / form.rate).sum())
    if longer == 0:
        return []
    return [
        f"{longer:,} of {len(seconds):,} sounds are longer than {form.seconds:g} s (the longest has "
        f"{seconds.max():,.1f} s), and only their beginning is read; --data.audio-seconds keeps more"
    ]


def _clipping_notes(pixels: Pixels, rows: NDArray[np.int64]) -> list[str]:
    """A note where sounds were recorded too loudly."""
    chosen = rows[:: max(1, len(rows) // _SAMPLED)]
    waves = np.empty((len(chosen), pixels.size), np.int16)
    try:
        pixels.take(chosen, waves)
    except RecordError:  # gone since it was listed; whoever trains on it is told
        return []
    clipped = int(((np.abs(waves.astype(np.int32)) >= 0.99 * FULL_SCALE).mean(axis=1) > _CLIPPED_SHARE).sum())
    if clipped == 0:
        return []
    return [f"{clipped:,} of {len(chosen):,} sounds that were looked at are clipped: they hit full scale"]
