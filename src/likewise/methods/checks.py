"""Checks that the methods' options share; each names the option as it is written on the command line."""

from __future__ import annotations

from typing import Any

from likewise.errors import ConfigError

__all__ = ["check_above_zero", "check_counts", "check_shares"]


def check_above_zero(config: Any, *names: str) -> None:
    """Refuse values that are not above zero; None is left to its default.

    Raises:
        ConfigError: the first that is not.
    """
    for name in names:
        value = getattr(config, name)
        if value is not None and not value > 0:
            raise ConfigError(f"method.{name} is {value}; it must be above 0.")


def check_counts(config: Any, *names: str, least: int = 1) -> None:
    """Refuse counts and widths below `least`; arguments and errors as of `check_above_zero`."""
    for name in names:
        value = getattr(config, name)
        if value is not None and value < least:
            raise ConfigError(f"method.{name} is {value}; expected at least {least}.")


def check_shares(config: Any, *names: str) -> None:
    """Refuse what lies outside [0, 1]; arguments and errors as of `check_above_zero`."""
    for name in names:
        value = getattr(config, name)
        if value is not None and not 0 <= value <= 1:
            raise ConfigError(f"method.{name} is {value}; expected within [0, 1].")
