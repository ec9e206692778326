"""A generated world of short sounds in which everything is known.

Tones, chirps, noise bursts and clicks in a row, each of a pitch and a loudness. Sound i of a seed is the same
however many are made.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from likewise.data.scenes.generate import LARGEST, SMALLEST
from likewise.data.sounds.content import KINDS, LOUDNESS, PITCHES, SoundContent, draw_content
from likewise.data.sounds.drawing import draw_sounds
from likewise.data.sounds.synthesis import synthesise
from likewise.errors import ConfigError
from likewise.step_random import StepRandom

__all__ = ["GeneratedSounds", "make_sounds"]

_LOWEST_RATE, _HIGHEST_RATE = 8_000, 48_000
_NUMBERS = {2: "two", 3: "three", 4: "four"}


@dataclass(frozen=True, kw_only=True)
class GeneratedSounds:
    """N sounds and what is known of them.

    Attributes:
        waves: (N, L) int16, three seconds, silent after a sound's end.
        images: (N, 3, S, S) uint8, RGB, the events as shapes (`likewise.data.sounds.drawing`); None where
            nobody asked for them.
        rate: samples a second.
        captions: N sentences that say all of a sound: loudness, pitch, kind and number of its events in
            order. Sounds of the same events have the same caption.
        labels: (N,) int64 into `label_names`: the main event, which is the loud one.
        content: the events as numbers.
    """

    waves: NDArray[np.int16]
    rate: int
    captions: list[str]
    labels: NDArray[np.int64]
    content: SoundContent
    images: NDArray[np.uint8] | None = None
    label_names: tuple[str, ...] = KINDS

    def __len__(self) -> int:
        return len(self.captions)


def make_sounds(
    count: int, *, seed: int, rate: int = 16_000, image_size: int | None = None
) -> GeneratedSounds:
    """Make sounds.

    Args:
        count: how many, N.
        seed: sound i of a seed is always the same, however many are made.
        rate: samples a second, 8,000 to 48,000.
        image_size: side of an image of each sound in pixels, 24 to 512; None for no images.

    Raises:
        ConfigError: a count below 1, a rate or a size out of bounds.
    """
    if count < 1:
        raise ConfigError(f"sounds: the count must be at least 1, got {count}")
    if not _LOWEST_RATE <= rate <= _HIGHEST_RATE:
        raise ConfigError(
            f"sounds: the rate must lie between {_LOWEST_RATE:,} and {_HIGHEST_RATE:,} Hz, got {rate:,}"
        )
    if image_size is not None and not SMALLEST <= image_size <= LARGEST:
        raise ConfigError(
            f"sounds: the size must lie between {SMALLEST} and {LARGEST} pixels, got {image_size}"
        )
    draw = StepRandom(seed, 0)
    content = draw_content(count, draw)
    return GeneratedSounds(
        waves=synthesise(content, draw, rate=rate),
        rate=rate,
        captions=[_caption(content, row) for row in range(count)],
        labels=content.kinds[np.arange(count), content.main],
        content=content,
        images=None if image_size is None else draw_sounds(content, draw, size=image_size),
    )


def _caption(content: SoundContent, row: int) -> str:
    """Such as "a soft low tone, then two loud high clicks"."""
    return ", then ".join(_event_words(content, row, slot) for slot in range(int(content.counts[row])))


def _event_words(content: SoundContent, row: int, slot: int) -> str:
    repeats = int(content.repeats[row, slot])
    article = _NUMBERS.get(repeats, "a")
    loudness, pitch = LOUDNESS[content.loudness[row, slot]], PITCHES[content.pitches[row, slot]]
    return f"{article} {loudness} {pitch} {KINDS[content.kinds[row, slot]]}"
