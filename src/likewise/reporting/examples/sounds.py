"""Sounds in a report: a spectrogram to look at and a player that needs no other file.

N sounds, L samples of each, M mel bands, F frames.
"""

from __future__ import annotations

import base64
import io
import wave
from typing import Any

import numpy as np
from numpy.typing import NDArray

from likewise.data import Dataset
from likewise.data.audio.decode import resampled
from likewise.model.inputs import dataset_batches
from likewise.model.model import Model

__all__ = ["player_uri", "sound_inputs", "spectrogram_colours"]

_PLAYED_RATE = 8000
_PLAYED_SECONDS = 10.0


def sound_inputs(model: Model, data: Dataset) -> dict[str, Any]:
    """What a report shows of a dataset's sounds: spectrograms as thumbnails, and waves for the players."""
    pixels = [model.pixels(stored).cpu().numpy()[:, 0] for stored in dataset_batches(data, 128, "audio")]
    return {
        "thumbnails": spectrogram_colours(np.concatenate(pixels)),
        "sounds": data.images(np.arange(len(data)), "audio").numpy(),
        "sound_rate": data.column("audio").rate,
    }


def spectrogram_colours(spectrograms: NDArray[np.float32]) -> NDArray[np.uint8]:
    """(N, M, F) log-mels to (N, 3, M, F) RGB, low bands at the bottom, each scaled to its own range."""
    from matplotlib import colormaps

    low = spectrograms.min(axis=(1, 2), keepdims=True)
    span = np.maximum(spectrograms.max(axis=(1, 2), keepdims=True) - low, 1e-6)
    colours = np.round(255 * np.asarray(colormaps["magma"](np.linspace(0, 1, 256)))[:, :3]).astype(np.uint8)
    places = np.round(255 * (spectrograms - low) / span).astype(np.uint8)[:, ::-1]
    return np.ascontiguousarray(np.moveaxis(colours[places], -1, 1))


def player_uri(samples: NDArray[np.int16], rate: int) -> str:
    """(L,) samples as a data URI of a WAV file that any browser plays: at most 8 kHz of 8 bits, which keeps a
    page with a hundred of them small, and without the silence at the end."""
    sounding = np.flatnonzero(samples)
    kept = samples[: min(int(sounding[-1]) + 1 if len(sounding) else 1, round(_PLAYED_SECONDS * rate))]
    wanted = min(rate, _PLAYED_RATE)
    floats = resampled(kept.astype(np.float32), rate, wanted)
    floats = floats / max(1.0, float(np.abs(floats).max()))
    buffer = io.BytesIO()
    with wave.open(buffer, "wb") as opened:
        opened.setnchannels(1)
        opened.setsampwidth(1)
        opened.setframerate(wanted)
        opened.writeframes(np.round(128 + 127 * floats).astype(np.uint8).tobytes())
    return "data:audio/wav;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")
