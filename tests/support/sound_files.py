"""Sound files for tests, written by hand."""

import io
import struct
import wave
from pathlib import Path

import numpy as np


def tone(frequency: float, *, rate: int = 16_000, seconds: float = 0.5, amplitude: float = 0.5) -> np.ndarray:
    return amplitude * np.sin(2 * np.pi * frequency * np.arange(round(rate * seconds)) / rate)


def wav_bytes(samples: np.ndarray, rate: int = 16_000, *, width: int = 2) -> bytes:
    """PCM of (n,) or (n, C) floats, by the standard library."""
    samples = samples[:, None] if samples.ndim == 1 else samples
    whole = np.round(samples * (2 ** (8 * width - 1) - 1)).astype(np.int64)
    if width == 1:
        body = (whole + 128).astype(np.uint8).tobytes()
    else:
        parts = np.stack([(whole >> (8 * byte)) & 255 for byte in range(width)], axis=-1)
        body = parts.astype(np.uint8).tobytes()
    stream = io.BytesIO()
    with wave.open(stream, "wb") as opened:
        opened.setnchannels(samples.shape[1])
        opened.setsampwidth(width)
        opened.setframerate(rate)
        opened.writeframes(body)
    return stream.getvalue()


def float_wav_bytes(samples: np.ndarray, rate: int = 16_000, *, width: int = 4) -> bytes:
    """(n,) floats as they are, with a chunk before the format that readers must pass over."""
    body = samples.astype(f"<f{width}").tobytes()
    layout = struct.pack("<HHIIHH", 3, 1, rate, rate * width, width, 8 * width)
    chunks = b"LIST" + struct.pack("<I", 3) + b"abc\0"
    chunks += b"fmt " + struct.pack("<I", len(layout)) + layout
    chunks += b"data" + struct.pack("<I", len(body)) + body
    return b"RIFF" + struct.pack("<I", 4 + len(chunks)) + b"WAVE" + chunks


def write_sounds(folder: Path, count: int = 6) -> list[Path]:
    """Tones of different pitch, in a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"{number:02d}.wav" for number in range(count)]
    for number, path in enumerate(paths):
        path.write_bytes(wav_bytes(tone(200.0 * (number + 1), seconds=0.3 + 0.1 * number)))
    return paths
