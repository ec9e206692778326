"""Encoded bytes to a mono wave of one rate and length.

Channels are averaged, the rate is changed by a polyphase filter, a longer sound keeps its beginning and a
shorter one is followed by silence. Values beyond full scale, which files of floats may have, scale the sound.
"""

from __future__ import annotations

import io
import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from likewise.data.audio.sound_format import SoundFormat
from likewise.data.audio.wav import Samples, check_rate, is_wav, read_wav
from likewise.errors import RecordError

__all__ = ["Waves", "decode_wave", "fitted_wave", "resampled", "stored_wave"]

_CODE_VERSION = 1  # raised whenever the same bytes would give other samples
FULL_SCALE = 32767

# What is no sound, by what it begins with (at a place), in words.
_OTHERS = (
    (4, b"ftyp", "MP4, which is a video or AAC"),
    (0, b"\x1a\x45\xdf\xa3", "Matroska or WebM, which is a video"),
    (8, b"AVI ", "AVI, which is a video"),
    (0, b"FLV", "FLV, which is a video"),
    (0, b"\x00\x00\x01\xba", "MPEG, which is a video"),
    (0, b"\xff\xd8\xff", "JPEG, which is an image"),
    (0, b"\x89PNG", "PNG, which is an image"),
)


@dataclass(frozen=True)
class Waves:
    """How a sound file becomes a row of the cache."""

    form: SoundFormat
    longest_seconds: float | None = None
    what = "sound"

    @property
    def key(self) -> str:
        """See Codec."""
        return f"waves {_CODE_VERSION}\n{self.form.rate}\n{self.form.length}\n{self.longest_seconds}\n"

    @property
    def settings(self) -> Mapping[str, Any]:
        """See Codec."""
        form = {"rate": self.form.rate, "length": self.form.length}
        return {"code_version": _CODE_VERSION, **form, "longest_seconds": self.longest_seconds}

    @property
    def shapes(self) -> Mapping[str, tuple[tuple[int, ...], Any]]:
        """See Codec; `seconds` are the sounds' own lengths."""
        return {"sounds": ((self.form.length,), np.int16), "seconds": ((), np.float32)}

    def decode(self, data: bytes) -> tuple[Any, ...]:
        """See Codec."""
        return decode_wave(data, self.form, self.longest_seconds)


def decode_wave(
    data: bytes, form: SoundFormat, longest_seconds: float | None = None
) -> tuple[NDArray[np.int16], float]:
    """An encoded sound as (L,) int16, and the seconds of all of it.

    Args:
        data: a WAV file; with soundfile installed also FLAC, OGG and MP3.
        form: rate and length of the result.
        longest_seconds: refuse a longer sound; None crops any.

    Raises:
        RecordError: it is no sound, damaged, silent, holds NaN, or is too long.
    """
    samples = _read(data, form.seconds)
    if longest_seconds is not None and samples.seconds > longest_seconds:
        raise RecordError(
            f"too long: {samples.seconds:,.1f} s, and --data.longest-audio-seconds is {longest_seconds:g}"
        )
    return stored_wave(samples.values.mean(axis=1), samples.rate, form), samples.seconds


def stored_wave(wave: NDArray[Any], rate: int, form: SoundFormat) -> NDArray[np.int16]:
    """(n,) floats of one channel as a stored (L,) int16. Raises RecordError: see `decode_wave`."""
    if wave.size == 0:
        raise RecordError("no samples in it")
    if not np.isfinite(wave).all():
        raise RecordError("samples that are NaN or infinite")
    peak = float(np.abs(wave).max())
    if peak * FULL_SCALE < 0.5:
        raise RecordError("silence: every sample is 0")
    fitted = fitted_wave(resampled(wave / max(1.0, peak), rate, form.rate), form.length)
    return np.asarray(np.round(np.clip(fitted, -1, 1) * FULL_SCALE), dtype=np.int16)


def fitted_wave(wave: NDArray[Any], length: int) -> NDArray[Any]:
    """(..., n) as (..., length): the beginning, or all of it and silence."""
    kept = wave[..., :length]
    return np.pad(kept, [(0, 0)] * (kept.ndim - 1) + [(0, length - kept.shape[-1])])


def resampled(wave: NDArray[Any], rate: int, target: int) -> NDArray[Any]:
    """(..., n) samples at another rate, (..., ceil(n target / rate))."""
    if rate == target:
        return wave
    from scipy.signal import resample_poly

    factor = math.gcd(rate, target)
    up, down = target // factor, rate // factor
    changed: NDArray[Any] = resample_poly(wave, up, down, axis=-1, window=_low_pass(up, down))
    return changed


@lru_cache(maxsize=8)
def _low_pass(up: int, down: int) -> NDArray[np.float64]:
    """The filter that scipy would design anew for each sound."""
    from scipy.signal import firwin

    most = max(up, down)
    taps: NDArray[np.float64] = firwin(20 * most + 1, 1 / most, window=("kaiser", 5.0))
    return taps


def _read(data: bytes, seconds: float) -> Samples:
    """The first `seconds` of any sound file."""
    if not data:
        raise RecordError("an empty file")
    if is_wav(data) and (samples := read_wav(data, seconds)) is not None:
        return samples
    for place, mark, words in _OTHERS:
        if data[place : place + len(mark)] == mark:
            raise RecordError(f"no sound file: it begins as {words}; export its sound as FLAC or WAV")
    try:
        import soundfile
    except ImportError:
        raise RecordError(
            "no plain WAV, and other sounds need soundfile: pip install 'likewise[audio]'"
        ) from None
    try:
        with soundfile.SoundFile(io.BytesIO(data)) as opened:
            check_rate(opened.samplerate)
            total = opened.frames / opened.samplerate
            values = opened.read(int(seconds * opened.samplerate) + 1, dtype="float32", always_2d=True)
            return Samples(values, opened.samplerate, total)
    except (RuntimeError, ValueError, OSError) as error:  # soundfile's own error is a RuntimeError
        reason = str(error).rpartition(": ")[2].strip(" .") or type(error).__name__
        raise RecordError(f"no sound file that can be read: {reason}") from error
