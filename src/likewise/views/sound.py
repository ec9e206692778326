"""Random views of a batch of sounds, made where the batch is.

Dimensions: B sounds, L samples of a stored sound, T samples of a view, M mel bands, F frames.

Random numbers depend on (seed, step, index, view) only, as those of images do. Mixing alone takes a second
row of the batch.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import torch
from torch import Tensor

from likewise.step_random import StepRandom
from likewise.views.log_mel import LogMel, log_mel
from likewise.views.sound_config import SoundViewConfig

__all__ = ["random_sound_view", "whole_sound_view"]

# Slots of a sound's random numbers; two for each of at most 8 masks of either kind follow.
_SHARE, _START, _PLACE, _GAIN, _MIX, _NOISE, _RATIO, _SHIFT, _MASKS = range(9)
_NUM_SLOTS = _MASKS + 32

_MIXED_AMPLITUDE = 0.2
_NOISE_LENGTH = 1 << 18


def random_sound_view(
    waves: Tensor,
    *,
    length: int,
    settings: LogMel,
    config: SoundViewConfig,
    draw: StepRandom,
    index: Tensor,
    view: int,
    mean: Sequence[float],
    std: Sequence[float],
) -> Tensor:
    """One random view of each sound.

    Args:
        waves: (B, L) int16.
        length: T, samples of the view.
        settings: of the spectrogram.
        config: the operations and their strengths.
        draw: the step's random numbers.
        index: (B,) int64, the sounds' keys (`Batch.key`); equal keys get equal views.
        view: number of the view; different numbers are independent.
        mean: of the spectrogram, one number.
        std: its deviation.

    Returns:
        (B, 1, M, F) float32, (log-mel - mean) / std; 0 where masked.

    Raises:
        ValueError: waves that are not (B, L) int16, an index of another length.
    """
    _check(waves)
    if index.shape != waves.shape[:1]:
        raise ValueError(f"random_sound_view: index has shape {tuple(index.shape)}, expected ({len(waves)},)")
    with torch.no_grad(), torch.autocast(waves.device.type, enabled=False):
        uniform = draw.uniform(index.to(waves.device), _NUM_SLOTS, purpose=f"view {view}")  # (B, slots)
        sound = _cropped(waves, uniform, length, config)  # (B, T)
        if config.gain_db > 0:
            sound = sound * 10 ** (config.gain_db * (2 * uniform[:, _GAIN, None] - 1) / 20)
        if config.mix > 0:
            mixed = (uniform[:, _MIX] < config.mix).float()[:, None]
            sound = sound + _MIXED_AMPLITUDE * mixed * sound.roll(1, 0)
        if config.noise > 0:
            sound = sound + _noise(sound, uniform, config)
        logs = (log_mel(sound, settings) - mean[0]) / std[0]  # (B, 1, M, F)
        return logs.masked_fill(_masks(uniform, logs.shape[2], logs.shape[3], config)[:, None], 0.0)


def whole_sound_view(
    waves: Tensor, *, length: int, settings: LogMel, mean: Sequence[float], std: Sequence[float]
) -> Tensor:
    """The evaluation view: the first T samples. Arguments, result and errors as in `random_sound_view`."""
    _check(waves)
    with torch.no_grad(), torch.autocast(waves.device.type, enabled=False):
        return (log_mel(_floats(waves[:, :length], length), settings) - mean[0]) / std[0]


def _check(waves: Tensor) -> None:
    if waves.dtype != torch.int16 or waves.ndim != 2:
        raise ValueError(
            f"views of sounds are made from waves (B, L) int16, got {tuple(waves.shape)} {waves.dtype}"
        )


def _floats(waves: Tensor, length: int) -> Tensor:
    """(B, n) int16 to (B, T) floats with full scale at 1, with silence after a shorter one."""
    return torch.nn.functional.pad(waves.float() / 32767, (0, max(0, length - waves.shape[1])))


def _cropped(waves: Tensor, uniform: Tensor, length: int, config: SoundViewConfig) -> Tensor:
    """(B, T): a piece of each sound, anywhere in the view."""
    low, high = config.crop
    stored = waves.shape[1]
    if low == 1 and stored <= length:
        return _floats(waves, length)
    pieces = ((low + (high - low) * uniform[:, _SHARE]) * min(length, stored)).long().clamp_min(1)  # (B,)
    start = (uniform[:, _START] * (stored - pieces + 1)).long()
    place = (uniform[:, _PLACE] * (length - pieces + 1)).long()
    time = torch.arange(length, device=waves.device) - place[:, None]  # (B, T) within the piece
    inside = (time >= 0) & (time < pieces[:, None])
    taken = waves.gather(1, (time + start[:, None]).clamp(0, stored - 1))
    return torch.where(inside, taken, 0).float() / 32767


def _noise(sound: Tensor, uniform: Tensor, config: SoundViewConfig) -> Tensor:
    """(B, T) white noise at a ratio to each sound's own power; zeros where none is drawn."""
    length = sound.shape[1]
    sheet = _noise_sheet(sound.device)
    start = (uniform[:, _SHIFT] * _NOISE_LENGTH).long()[:, None]
    noise = sheet[(start + torch.arange(length, device=sound.device)) % _NOISE_LENGTH]
    least, most = config.noise_db
    ratio = 10 ** (-(least + (most - least) * uniform[:, _RATIO]) / 20)  # of amplitudes
    level = sound.square().mean(dim=1).sqrt() * ratio * (uniform[:, _NOISE] < config.noise)
    return noise * level[:, None]


@lru_cache(maxsize=4)
def _noise_sheet(device: torch.device) -> Tensor:
    """Noise of which each view takes a piece of its own: hashing a number a sample would cost more than all
    the rest."""
    with torch.inference_mode(False):
        generator = torch.Generator().manual_seed(20262)
        return torch.randn(_NOISE_LENGTH, generator=generator).to(device)


def _masks(uniform: Tensor, bands: int, frames: int, config: SoundViewConfig) -> Tensor:
    """(B, M, F) bool, where the spectrogram is removed (Park 2019, section 2)."""
    masked = torch.zeros((len(uniform), bands, frames), dtype=torch.bool, device=uniform.device)
    kinds = (  # number, widest share, cells, their axis in (B, M, F), slot of the first
        (config.time_masks, config.time_mask_share, frames, 2, _MASKS),
        (config.frequency_masks, config.frequency_mask_share, bands, 1, _MASKS + 16),
    )
    for count, share, size, axis, first in kinds:
        cells = torch.arange(size, device=uniform.device)
        for slot in range(first, first + 2 * count, 2):
            width = (uniform[:, slot] * (int(share * size) + 1)).floor()[:, None]  # 0 to share * size
            start = (uniform[:, slot + 1, None] * (size - width + 1)).floor()
            hidden = (cells >= start) & (cells < start + width)  # (B, size)
            masked |= hidden.unsqueeze(3 - axis)
    return masked
