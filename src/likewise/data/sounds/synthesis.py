"""Events to samples: sines, sweeps, filtered noise and ringing clicks.

Legend: N sounds, L samples of the longest, n samples of an event.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from likewise.data.sounds.content import KINDS, MAX_EVENTS, PITCHES, SECONDS, SoundContent
from likewise.step_random import StepRandom

__all__ = ["synthesise"]

Floats = NDArray[np.floating[Any]]

_FADE_SECONDS = 0.015  # an event that begins at once would click
_SWEEP = 2.2  # a chirp's end over its beginning
_BANDS = {"low": (120.0, 450.0), "middle": (700.0, 1500.0), "high": (2200.0, 3700.0)}  # of noise, Hz
_RING_SECONDS = 0.012
_NOISE_SECONDS = 8.0
_FLOOR = 0.0008  # the recording's own noise, of full scale


def synthesise(content: SoundContent, draw: StepRandom, *, rate: int) -> NDArray[np.int16]:
    """Samples of every sound.

    Args:
        content: what N sounds hold.
        draw: the same as that of the content; phases and noise hang on it.
        rate: samples a second.

    Returns:
        (N, L) int16, L samples of three seconds; silent after the end of a shorter sound.
    """
    import torch

    total, length = len(content.counts), round(SECONDS * rate)
    looks = draw.uniform(torch.arange(total), 2 * MAX_EVENTS + 1, purpose="sound phases").numpy()
    waves = np.zeros((total, length), dtype=np.int16)
    floor = _noise(rate, 0.0, rate / 2)
    for row in range(total):
        wave = np.zeros(length)
        for slot in range(int(content.counts[row])):
            start = round(float(content.starts[row, slot]) * rate)
            event = _event(content, row, slot, looks[row, 2 * slot : 2 * slot + 2], rate)
            wave[start : start + len(event)] += event[: length - start]
        end = round(float(content.seconds[row]) * rate)
        shift = int(looks[row, -1] * (len(floor) - length))
        wave[:end] += _FLOOR * floor[shift : shift + end]
        waves[row] = np.round(32767 * np.clip(wave, -1, 1))
    return waves


def _event(content: SoundContent, row: int, slot: int, look: Floats, rate: int) -> Floats:
    """(n,) samples of one event."""
    kind = KINDS[content.kinds[row, slot]]
    frequency, seconds = float(content.frequencies[row, slot]), float(content.lengths[row, slot])
    amplitude, phase = float(content.amplitudes[row, slot]), 2 * math.pi * float(look[0])
    time = np.arange(round(seconds * rate)) / rate
    if kind == "clicks":
        return amplitude * _clicks(int(content.repeats[row, slot]), frequency, seconds, rate)
    if kind == "noise burst":
        noise = _noise(rate, *_BANDS[PITCHES[content.pitches[row, slot]]])
        shift = int(float(look[1]) * (len(noise) - len(time)))
        wave = 0.5 * noise[shift : shift + len(time)]
    elif kind == "tone":
        wave = np.sin(2 * math.pi * frequency * time + phase)
    else:  # exponential sweeps: the same interval every moment
        first, last = frequency / math.sqrt(_SWEEP), frequency * math.sqrt(_SWEEP)
        if kind == "falling chirp":
            first, last = last, first
        slope = math.log(last / first) / seconds
        wave = np.sin(2 * math.pi * first * np.expm1(slope * time) / slope + phase)
    return np.asarray(amplitude * _faded(wave, rate), dtype=np.float64)


def _faded(wave: Floats, rate: int) -> Floats:
    """With a raised cosine at both ends."""
    edge = min(len(wave) // 2, round(_FADE_SECONDS * rate))
    ramp = 0.5 - 0.5 * np.cos(math.pi * np.arange(edge) / max(1, edge))
    wave = wave.copy()
    wave[:edge] *= ramp
    wave[len(wave) - edge :] *= ramp[::-1]
    return wave


def _clicks(repeats: int, frequency: float, seconds: float, rate: int) -> Floats:
    """Short rings, evenly spaced, that begin at once."""
    wave = np.zeros(round(seconds * rate))
    ring_time = np.arange(round(5 * _RING_SECONDS * rate)) / rate
    ring = np.exp(-ring_time / _RING_SECONDS) * np.sin(2 * math.pi * frequency * ring_time + math.pi / 2)
    for number in range(repeats):
        start = number * len(wave) // repeats
        end = min(len(wave), start + len(ring))
        wave[start:end] += ring[: end - start]
    return wave


@lru_cache(maxsize=16)
def _noise(rate: int, low: float, high: float) -> Floats:
    """Eight seconds of noise of one band and of deviation 1; every burst is a piece of it, which is cheap."""
    white = np.random.default_rng(20261).normal(size=round(_NOISE_SECONDS * rate))
    spectrum = np.fft.rfft(white)
    frequencies = np.fft.rfftfreq(len(white), 1 / rate)
    spectrum[(frequencies < low) | (frequencies > high)] = 0
    noise = np.fft.irfft(spectrum, len(white))
    return np.asarray(noise / max(float(noise.std()), 1e-12))
