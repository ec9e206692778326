"""What the options of image and text encoders share: sizes, how they are trained, a network of one's own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from likewise.errors import ConfigError
from likewise.messages import flag

__all__ = ["TUNING_OPTIONS", "TuningOptions", "check_sizes", "width_depth_heads"]

_CHOICES = "full, frozen, lora or last-N such as last-2"


@dataclass(frozen=True, kw_only=True)
class TuningOptions:
    """Options of both encoders."""

    own: str | None = None
    """The class of a network of your own, which train(..., image_encoder=...) or text_encoder=... sets from
    Python; the command line has no network to build, and refuses it. As image encoder also a model of timm by
    its name, such as timm:resnet18.a1_in1k (pip install 'likewise[timm]'); its width, depth and pooling
    override the other options."""

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


def check_sizes(config: Any, section: str, *names: str) -> None:
    """Reject sizes below 1 (None is the preset's) and a dropout outside [0, 1).

    Args:
        config: the options.
        section: `image` or `text`.
        names: the options that are sizes.

    Raises:
        ConfigError: see above; the message names the option.
    """
    for name in names:
        value = getattr(config, name)
        if value is not None and value < 1:
            raise ConfigError(f"{flag(section, name)} is {value}; expected at least 1.")
    if not 0 <= config.dropout < 1:
        raise ConfigError(f"--{section}.dropout is {config.dropout}; expected a probability in [0, 1).")


def width_depth_heads(
    config: Any, section: str, presets: Mapping[str, tuple[int, int]]
) -> tuple[int, int, int]:
    """Sizes of a Transformer: the options, or the preset's width and depth and a head for every 64 of width.

    Raises:
        ConfigError: the heads do not divide the width.
    """
    width, depth = presets[config.preset]
    width, depth = config.width or width, config.depth or depth
    heads = config.heads or max(1, width // 64)
    if width % heads:
        raise ConfigError(f"--{section}.width {width} is not a multiple of --{section}.heads {heads}.")
    return width, depth, heads
