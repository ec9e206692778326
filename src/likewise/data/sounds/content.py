"""What generated sounds hold: one to three events, one after the other.

Legend: N sounds, at most K = 3 events in each. Slot 0 holds the event that is heard first.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from likewise.step_random import StepRandom

__all__ = ["KINDS", "LOUDNESS", "MAX_EVENTS", "PITCHES", "SECONDS", "SoundContent", "draw_content"]

KINDS = ("tone", "rising chirp", "falling chirp", "noise burst", "clicks")
PITCHES = ("low", "middle", "high")
LOUDNESS = ("soft", "loud")
MAX_EVENTS = 3
SECONDS = 3.0
"""Length of the longest sound."""

# Decades apart enough that a pitch drawn within one is never taken for its neighbour; Hz.
_PITCH_RANGE = np.array([[160.0, 240.0], [520.0, 760.0], [1700.0, 2500.0]])
_AMPLITUDE = np.array([[0.06, 0.10], [0.45, 0.75]])  # full scale is 1; about 16 dB apart


@dataclass(frozen=True, kw_only=True)
class SoundContent:
    """What N sounds hold. Unused slots hold -1 (0 in starts, lengths, frequencies and amplitudes).

    Attributes:
        kinds: (N, 3) int64 into KINDS.
        pitches: (N, 3) int64 into PITCHES; of a noise burst the band, of clicks their ring.
        loudness: (N, 3) int64 into LOUDNESS. Exactly one event of a sound is loud: the main one.
        repeats: (N, 3) int64, clicks in a row, 2 to 4; 1 for other kinds.
        counts: (N,) int64 events, 1 to 3.
        starts: (N, 3) seconds.
        lengths: (N, 3) seconds.
        frequencies: (N, 3) Hz.
        amplitudes: (N, 3) of full scale.
        seconds: (N,) length of each sound, 1 to 3.
    """

    kinds: NDArray[np.int64]
    pitches: NDArray[np.int64]
    loudness: NDArray[np.int64]
    repeats: NDArray[np.int64]
    counts: NDArray[np.int64]
    starts: NDArray[np.float64]
    lengths: NDArray[np.float64]
    frequencies: NDArray[np.float64]
    amplitudes: NDArray[np.float64]
    seconds: NDArray[np.float64]

    @property
    def main(self) -> NDArray[np.int64]:
        """(N,) the slot of the main event: the loud one."""
        return np.asarray(np.argmax(self.loudness, axis=1), dtype=np.int64)


def draw_content(count: int, draw: StepRandom) -> SoundContent:
    """Draw what `count` sounds hold; sound i depends on the draw and on i alone."""
    uniform = draw.uniform(torch.arange(count), 26, purpose="sound content").numpy().astype(np.float64)
    counts = 1 + (uniform[:, 0] > 0.45).astype(np.int64) + (uniform[:, 0] > 0.83)
    unused = np.arange(MAX_EVENTS) >= counts[:, None]
    kinds = np.floor(uniform[:, 1:4] * len(KINDS)).astype(np.int64)
    pitches = np.floor(uniform[:, 4:7] * len(PITCHES)).astype(np.int64)
    main = np.floor(uniform[:, 7] * counts).astype(np.int64)
    loudness = (np.arange(MAX_EVENTS) == main[:, None]).astype(np.int64)
    repeats = np.where(kinds == KINDS.index("clicks"), 2 + np.floor(uniform[:, 8:11] * 3), 1)
    low, high = _PITCH_RANGE[pitches, 0], _PITCH_RANGE[pitches, 1]
    soft, hard = _AMPLITUDE[loudness, 0], _AMPLITUDE[loudness, 1]
    lengths = np.where(unused, 0.0, 0.3 + 0.25 * uniform[:, 11:14])
    gaps = np.where(unused, 0.0, 0.12 + 0.13 * uniform[:, 14:17])
    needed = (lengths + gaps).sum(axis=1)
    seconds = np.clip(needed + 0.3, 1.0, SECONDS) + (SECONDS - np.clip(needed + 0.3, 1.0, SECONDS)) * (
        0.5 * uniform[:, 17]
    )
    lead = (seconds - needed) * uniform[:, 18]
    starts = lead[:, None] + np.cumsum(lengths + gaps, axis=1) - lengths

    def used(values: NDArray[np.float64], blank: float) -> NDArray[np.float64]:
        return np.where(unused, blank, values)

    return SoundContent(
        kinds=np.where(unused, -1, kinds),
        pitches=np.where(unused, -1, pitches),
        loudness=np.where(unused, -1, loudness),
        repeats=np.where(unused, -1, repeats).astype(np.int64),
        counts=counts,
        starts=used(starts, 0.0),
        lengths=lengths,
        frequencies=used(low * (high / low) ** uniform[:, 19:22], 0.0),
        amplitudes=used(soft * (hard / soft) ** uniform[:, 22:25], 0.0),
        seconds=seconds,
    )
