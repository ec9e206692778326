"""Log-mel spectrograms.

Dimensions: B sounds, L samples, F frames, K = fft / 2 + 1 frequencies, M mel bands.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

__all__ = ["LogMel", "log_mel", "mel_bands"]


# Bytes of a transform at a time on CPU, so that it stays in the cache: whole batches took 2.5 times as long.
_CHUNK_BYTES = 3_000_000


@dataclass(frozen=True, kw_only=True)
class LogMel:
    """How a spectrogram is made of samples. The defaults are ours; AST's and CLAP's are in
    `likewise.encoders.audio.pretrained`.

    Attributes:
        rate: samples a second.
        window: samples of a frame, under a Hann window.
        hop: samples from one frame to the next.
        fft: length of the transform, at least `window`; frames are followed by zeros.
        mels: M bands.
        low: lowest frequency of the bands, Hz.
        high: highest one, Hz; half the rate when None.
        scale: the mel scale. "htk": 2595 log10(1 + f / 700), triangles over Hz; "kaldi": the same scale,
            triangles over mels; "slaney": linear below 1 kHz.
        equal_area: divide each band by its width in Hz.
        centered: frame i is centred at sample i hop, and the edges are mirrored; else it begins there.
        periodic: the window is one period of the cosine, else symmetric.
        without_offset: subtract each frame's mean.
        preemphasis: of each frame x_t - p x_(t-1).
        decibels: 10 log10 of the power, else its natural logarithm.
        floor: least power.
    """

    rate: int = 16_000
    window: int = 640
    hop: int = 320
    fft: int = 1024
    mels: int = 64
    low: float = 50.0
    high: float | None = None
    scale: Literal["htk", "kaldi", "slaney"] = "htk"
    equal_area: bool = False
    centered: bool = True
    periodic: bool = True
    without_offset: bool = False
    preemphasis: float = 0.0
    decibels: bool = False
    floor: float = 1e-5

    def num_frames(self, length: int) -> int:
        """F of a sound of L samples."""
        length += 2 * (self.window // 2) if self.centered else 0
        return 1 + max(0, length - self.window) // self.hop


def log_mel(waves: Tensor, settings: LogMel) -> Tensor:
    """Log-mel spectrograms.

    Args:
        waves: (B, L) float, full scale at 1; L at least a window.
        settings: see `LogMel`.

    Returns:
        (B, 1, M, F) float32, the lowest band first.
    """
    if waves.ndim != 2 or waves.shape[1] < settings.window:
        raise ValueError(
            f"log_mel: expected (B, L) of at least {settings.window} samples, got {tuple(waves.shape)}"
        )
    num_bytes = 8 * settings.num_frames(waves.shape[1]) * settings.fft
    rows = len(waves) if waves.is_cuda else max(1, _CHUNK_BYTES // num_bytes)
    made = [_log_mel(part.float(), settings) for part in torch.split(waves, max(1, rows))]
    return torch.cat(made) if len(made) > 1 else made[0]


def _log_mel(waves: Tensor, settings: LogMel) -> Tensor:
    if settings.centered:
        edge = settings.window // 2
        waves = nn.functional.pad(waves[:, None], (edge, edge), mode="reflect")[:, 0]
    frames = waves.unfold(1, settings.window, settings.hop)  # (B, F, window)
    if settings.without_offset:
        frames = frames - frames.mean(dim=2, keepdim=True)
    if settings.preemphasis:
        before = torch.cat([frames[..., :1], frames[..., :-1]], dim=2)
        frames = frames - settings.preemphasis * before
    window, bands = _constants(settings, waves.device)
    spectrum = torch.fft.rfft(frames * window, n=settings.fft)  # (B, F, K)
    power = spectrum.real.square() + spectrum.imag.square()
    mels = (power @ bands).clamp_min(settings.floor)  # (B, F, M)
    logs: Tensor = 10 * mels.log10() if settings.decibels else mels.log()
    return logs.transpose(1, 2)[:, None]


def mel_bands(settings: LogMel) -> NDArray[np.float64]:
    """(K, M) weights of the triangular bands."""
    highest = settings.rate / 2 if settings.high is None else settings.high
    first, last = _mels(np.array([settings.low, highest]), settings.scale).tolist()
    ends = np.linspace(first, last, settings.mels + 2)
    frequencies = np.linspace(0, settings.rate / 2, settings.fft // 2 + 1)  # (K,) Hz
    corners = _hertz(ends, settings.scale)
    axis, places = (
        (_mels(frequencies, "kaldi"), ends) if settings.scale == "kaldi" else (frequencies, corners)
    )
    steps, slopes = np.diff(places), places[None] - axis[:, None]  # (M + 1,), (K, M + 2)
    bands = np.maximum(0, np.minimum(-slopes[:, :-2] / steps[:-1], slopes[:, 2:] / steps[1:]))
    if settings.equal_area:
        bands *= 2 / (corners[2:] - corners[:-2])
    return np.asarray(bands)


# Slaney's Auditory Toolbox: 200 / 3 Hz a mel up to 1 kHz, then 27 mels for a factor of 6.4.
_LINEAR, _BREAK, _STEP = 3 / 200, 1000.0, 27 / np.log(6.4)


def _mels(hertz: NDArray[np.float64], scale: str) -> NDArray[np.float64]:
    if scale == "slaney":
        above = _BREAK * _LINEAR + _STEP * np.log(np.maximum(hertz, _BREAK) / _BREAK)
        return np.where(hertz < _BREAK, hertz * _LINEAR, above)
    return np.asarray((2595 / np.log(10) if scale == "htk" else 1127.0) * np.log1p(hertz / 700))


def _hertz(mels: NDArray[np.float64], scale: str) -> NDArray[np.float64]:
    if scale == "slaney":
        return np.where(
            mels < _BREAK * _LINEAR, mels / _LINEAR, _BREAK * np.exp((mels - _BREAK * _LINEAR) / _STEP)
        )
    return np.asarray(700 * np.expm1(mels / (2595 / np.log(10) if scale == "htk" else 1127.0)))


@lru_cache(maxsize=16)
def _constants(settings: LogMel, device: torch.device) -> tuple[Tensor, Tensor]:
    """The window and the bands in float32, created once a device."""
    with torch.inference_mode(False):
        window = torch.hann_window(settings.window, periodic=settings.periodic, dtype=torch.float64)
        bands = torch.from_numpy(mel_bands(settings))
        return window.to(device, torch.float32), bands.to(device, torch.float32)
