"""Sounds in any form a caller may have, to the waves that a network takes."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Union, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from likewise.data.audio.decode import decode_wave, stored_wave
from likewise.data.audio.sound_format import SoundFormat
from likewise.data.audio.wav import check_rate
from likewise.errors import DataError, RecordError

__all__ = ["SoundInput", "Sounds", "several_sounds", "sound_waves"]

SoundInput = Union[str, "os.PathLike[str]", bytes, tuple[Any, int]]
Sounds = SoundInput | Sequence[SoundInput]


def several_sounds(sounds: Sounds) -> list[SoundInput]:
    """One or several sounds as a list."""
    is_pair = isinstance(sounds, tuple) and len(sounds) == 2 and isinstance(sounds[1], int)
    single = is_pair or isinstance(sounds, (str, bytes, bytearray, memoryview, os.PathLike))
    return cast("list[SoundInput]", [sounds] if single else list(cast(Any, sounds)))


def sound_waves(sounds: Sequence[SoundInput], form: SoundFormat, *, first: int = 0) -> Tensor:
    """Decode sounds.

    Args:
        sounds: paths, encoded bytes, or pairs of samples and their rate.
        form: rate and length of the waves.
        first: number of the first sound, for messages.

    Returns:
        (B, L) int16.

    Raises:
        DataError: a sound cannot be read; the message says which and why.
    """
    waves = np.empty((len(sounds), form.length), np.int16)
    for place, sound in enumerate(sounds):
        try:
            waves[place] = _wave(sound, form)
        except RecordError as error:
            name = sound if isinstance(sound, (str, os.PathLike)) else f"sound {first + place}"
            raise DataError(f"{name}: {error}") from error
    return torch.from_numpy(waves)


def _wave(sound: Any, form: SoundFormat) -> NDArray[np.int16]:
    if isinstance(sound, (str, os.PathLike)):
        if "://" in str(sound):
            raise RecordError("is an address; sounds are not fetched from the network. Download it first.")
        try:
            sound = Path(sound).read_bytes()
        except (OSError, ValueError) as error:
            raise RecordError(f"cannot be read ({getattr(error, 'strerror', None) or error})") from error
    if isinstance(sound, (bytes, bytearray, memoryview)):
        return decode_wave(bytes(sound), form)[0]
    if not isinstance(sound, tuple) or len(sound) != 2:
        raise RecordError(f"is a {type(sound).__name__}; expected a path, bytes or a pair (samples, rate)")
    samples, rate = np.asarray(sound[0]), int(sound[1])
    check_rate(rate)
    if samples.dtype == np.int16:
        samples = samples / 32768.0
    if samples.ndim not in (1, 2) or not np.issubdtype(samples.dtype, np.floating):
        raise RecordError(
            f"has samples {samples.shape} {samples.dtype}; expected (n,) or (n, C), float or int16"
        )
    kept = samples[: int(form.seconds * rate) + 1]
    return stored_wave(kept if kept.ndim == 1 else kept.mean(axis=1), rate, form)
