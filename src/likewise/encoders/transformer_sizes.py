"""Checks and defaults that the options of image and text encoders share."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from likewise.errors import ConfigError

__all__ = ["check_sizes", "width_depth_heads"]


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
            raise ConfigError(f"{section}.{name} is {value}; expected at least 1.")
    if not 0 <= config.dropout < 1:
        raise ConfigError(f"{section}.dropout is {config.dropout}; expected a probability in [0, 1).")


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
        raise ConfigError(f"{section}.width {width} is not a multiple of {section}.heads {heads}.")
    return width, depth, heads
