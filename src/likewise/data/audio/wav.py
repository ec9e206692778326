"""Reads WAV: PCM of 8 to 32 bits and floats of 32 and 64, without another library."""

from __future__ import annotations

import struct
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from likewise.errors import RecordError

__all__ = ["Samples", "is_wav", "read_wav"]

_PCM, _FLOAT, _EXTENSIBLE = 1, 3, 0xFFFE
_LARGEST_RATE = 1_000_000


class Samples(NamedTuple):
    """The beginning of a sound.

    Attributes:
        values: (n, C) float32, full scale at 1.
        rate: samples a second.
        seconds: length of the whole sound.
    """

    values: NDArray[np.float32]
    rate: int
    seconds: float


def is_wav(data: bytes) -> bool:
    """Whether bytes begin as WAV does."""
    return data[:4] == b"RIFF" and data[8:12] == b"WAVE"


def read_wav(data: bytes, seconds: float) -> Samples | None:
    """The first `seconds` of a WAV file; None where its coding (ADPCM, mu-law) needs another reader.

    Raises:
        RecordError: it is damaged, or has an impossible rate.
    """
    layout, body = None, None
    place = 12
    while place + 8 <= len(data) and body is None:
        name, size = data[place : place + 4], struct.unpack_from("<I", data, place + 4)[0]
        start = place + 8
        if name == b"fmt ":
            if size < 16 or start + size > len(data):
                raise RecordError("damaged WAV: its format chunk is cut short")
            layout = data[start : start + size]
        elif name == b"data":  # a stream's length is unknown when it begins, and written as the largest
            body = memoryview(data)[start : start + size]
        place = start + size + size % 2
    if layout is None or body is None:
        raise RecordError("damaged WAV: it has no format or no data chunk")
    code, channels, rate, _, frame, bits = struct.unpack_from("<HHIIHH", layout)
    if code == _EXTENSIBLE and len(layout) >= 26:
        code = struct.unpack_from("<H", layout, 24)[0]
    if code not in (_PCM, _FLOAT):
        return None
    check_rate(rate)
    width = bits // 8
    known = width in ((1, 2, 3, 4) if code == _PCM else (4, 8)) and bits % 8 == 0
    if not known or channels < 1 or frame != width * channels:
        raise RecordError(f"damaged WAV: {channels} channels of {bits} bits in frames of {frame} bytes")
    total = len(body) // frame
    count = min(total, int(seconds * rate) + 1)
    values = _floats(body[: count * frame], width, is_float=code == _FLOAT)
    return Samples(values.reshape(count, channels), rate, total / rate)


def check_rate(rate: int) -> None:
    """Raise RecordError at a rate that no sound has."""
    if not 0 < rate <= _LARGEST_RATE:
        raise RecordError(f"a sampling rate of {rate:,} Hz")


def _floats(body: Any, width: int, *, is_float: bool) -> NDArray[np.float32]:
    if is_float:
        floats: NDArray[np.float32] = np.frombuffer(body, dtype=f"<f{width}").astype(np.float32)
        return floats
    if width == 1:  # the only unsigned one
        return np.asarray((np.frombuffer(body, dtype=np.uint8).astype(np.float32) - 128) / 128, np.float32)
    if width == 3:
        parts = np.frombuffer(body, dtype=np.uint8).reshape(-1, 3).astype(np.int32)
        whole = (parts[:, 0] << 8) | (parts[:, 1] << 16) | (parts[:, 2] << 24)  # signed in the top bits
        return (whole / 2.0**31).astype(np.float32)
    whole = np.frombuffer(body, dtype=f"<i{width}")
    return (whole / 2.0 ** (8 * width - 1)).astype(np.float32)
