"""Options of both encoders: how they are trained, and whether one is a network of the user's own."""

from __future__ import annotations

from dataclasses import dataclass, fields

from likewise.errors import ConfigError
from likewise.messages import flag

__all__ = ["TUNING_OPTIONS", "TuningOptions"]

_CHOICES = "full, frozen, lora or last-N such as last-2"


@dataclass(frozen=True, kw_only=True)
class TuningOptions:
    """Options of both encoders."""

    own: str | None = None
    """The class of a network of your own, which train(..., image_encoder=...) or text_encoder=... sets from
    Python; the command line has no network to build, and refuses it."""

    tune: str = "full"
    """Which weights are trained: `full`, all; `frozen`, none (no gradient is computed, the least memory and
    time; LiT, Zhai 2021, arXiv 2111.07991, freezes the images); `last-N`, the last N layers and what comes
    after them; `lora`, low-rank updates of every linear layer (Hu 2021, arXiv 2106.09685), merged into the
    weights at the end: little memory for the optimizer, and less is forgotten than by full. lora needs peft:
    pip install 'likewise[lora]'."""

    lora_rank: int = 8
    """Rank of the updates of lora."""

    rate_factor: float = 1.0
    """Factor of the learning rate for this encoder's weights, such as 0.1 for a pre-trained encoder beside a
    new one. With --pretrained and lora it is 10 by default: at the rate of full lora learns too little."""

    layer_decay: float = 1.0
    """Factor of the learning rate from each layer to the one before it (Clark 2020, arXiv 2003.10555, section
    A): 0.75 lets the first layers of a pre-trained encoder move least."""

    @property
    def num_last_layers(self) -> int | None:
        """N of last-N; None for another choice."""
        return int(self.tune.removeprefix("last-")) if self.tune.startswith("last-") else None

    @property
    def is_usual(self) -> bool:
        """Whether all of these options are at their defaults."""
        usual = {field.name: field.default for field in fields(TuningOptions) if field.name != "own"}
        return all(getattr(self, name) == value for name, value in usual.items())

    def check_tuning(self, section: str) -> None:
        """Reject values that cannot work.

        Args:
            section: `image` or `text`.
        """
        number = self.tune.removeprefix("last-")
        is_last = self.tune != number and number.isdecimal() and int(number) > 0
        if self.tune not in ("full", "frozen", "lora") and not is_last:
            raise ConfigError(f"{flag(section, 'tune')} is {self.tune!r}; expected {_CHOICES}.")
        if self.lora_rank < 1:
            raise ConfigError(f"{flag(section, 'lora_rank')} is {self.lora_rank}; expected at least 1.")
        if self.lora_rank != TuningOptions.lora_rank and self.tune != "lora":
            raise ConfigError(
                f"{flag(section, 'lora_rank')} is {self.lora_rank}, which {flag(section, 'tune')} "
                f"{self.tune} ignores; leave it out, or use lora."
            )
        if not 0 < self.layer_decay <= 1:
            raise ConfigError(
                f"{flag(section, 'layer_decay')} is {self.layer_decay}; expected above 0 and at most 1."
            )
        if self.rate_factor <= 0:
            raise ConfigError(f"{flag(section, 'rate_factor')} is {self.rate_factor}; expected above 0.")


TUNING_OPTIONS = tuple(field.name for field in fields(TuningOptions))
"""Their names."""
