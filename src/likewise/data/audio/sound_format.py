"""The form in which sounds are stored."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["SoundFormat"]


@dataclass(frozen=True, kw_only=True)
class SoundFormat:
    """Rate and length of stored sounds.

    Attributes:
        rate: samples a second, those of the encoder.
        seconds: length; a longer sound keeps its beginning, a shorter one is followed by silence.
    """

    rate: int
    seconds: float

    @property
    def length(self) -> int:
        """L, samples of a stored sound."""
        return max(1, round(self.rate * self.seconds))
