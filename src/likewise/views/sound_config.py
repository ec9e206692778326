"""Options and presets of random views of sounds."""

from __future__ import annotations

import math
from dataclasses import dataclass

from likewise.errors import ConfigError
from likewise.messages import flag

__all__ = ["SOUND_PRESETS", "SoundViewConfig"]


@dataclass(frozen=True, kw_only=True)
class SoundViewConfig:
    """Random views of a sound, in this order: crop, gain, mixing, noise, spectrogram, masks."""

    # The defaults are ours, for SimCLR and its like; crops and mixing follow Fonseca 2020 (2011.07616) and
    # Niizumi 2021 (2103.06695). The docstrings are the command line's help.

    crop: tuple[float, float] = (0.6, 1.0)
    """Shortest and longest piece of a sound that a view keeps, as a share of --audio.seconds; it lies
    anywhere in the view, and the rest is silent."""
    gain_db: float = 6.0
    """Largest change of loudness in decibels, either way."""
    mix: float = 0.0
    """Probability of adding another sound of the batch, at a fifth of its amplitude. With cached gradients it
    is one of the same part of the batch."""
    noise: float = 0.5
    """Probability of adding white noise."""
    noise_db: tuple[float, float] = (10.0, 40.0)
    """Least and greatest ratio of the sound to that noise, in decibels."""
    time_masks: int = 1
    """Stretches of time that are removed from the spectrogram (SpecAugment, Park 2019, 1904.08779)."""
    time_mask_share: float = 0.15
    """Longest such stretch, as a share of the view."""
    frequency_masks: int = 1
    """Ranges of mel bands that are removed from the spectrogram."""
    frequency_mask_share: float = 0.15
    """Widest such range, as a share of the bands."""

    def __post_init__(self) -> None:
        low, high = self.crop
        if not 0 < low <= high <= 1:
            raise ConfigError(f"--views.crop is {self.crop}; expected a minimum and a maximum in (0, 1].")
        for name in ("mix", "noise", "time_mask_share", "frequency_mask_share"):
            if not 0 <= getattr(self, name) <= 1:
                raise ConfigError(f"{flag('views', name)} is {getattr(self, name)}; expected within [0, 1].")
        for name in ("time_masks", "frequency_masks"):
            if not 0 <= getattr(self, name) <= 8:
                raise ConfigError(f"{flag('views', name)} is {getattr(self, name)}; expected 0 to 8.")
        if not 0 <= self.gain_db <= 60:
            raise ConfigError(f"--views.gain-db is {self.gain_db}; expected 0 to 60 decibels.")
        if not self.noise_db[0] <= self.noise_db[1] or not all(map(math.isfinite, self.noise_db)):
            raise ConfigError(f"--views.noise-db is {self.noise_db}; expected a minimum and a maximum.")


SOUND_PRESETS: dict[str, SoundViewConfig] = {
    "simclr": SoundViewConfig(),
    # Captions tell loudness, pitch and order, so only what none of them tells may change.
    "clip": SoundViewConfig(
        crop=(1.0, 1.0), gain_db=1.0, noise=0.5, noise_db=(30.0, 50.0), time_masks=0, frequency_masks=0
    ),
    # For methods that learn from labels.
    "mild": SoundViewConfig(
        crop=(0.9, 1.0), gain_db=3.0, noise_db=(20.0, 40.0), time_masks=1, time_mask_share=0.08
    ),
    "none": SoundViewConfig(crop=(1.0, 1.0), gain_db=0.0, noise=0.0, time_masks=0, frequency_masks=0),
}
