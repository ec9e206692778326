"""Checks of method options; messages name the option as on the command line."""

from __future__ import annotations

from typing import Any

from likewise.errors import ConfigError

__all__ = ["check_above_zero", "check_counts", "check_shares"]


def check_above_zero(config: Any, *names: str) -> None:
    """Reject values that are not above 0; None passes.

    Raises:
        ConfigError: names the first such option.
    """
    for name, value in _values(config, names):
        if not value > 0:
            raise ConfigError(f"method.{name} is {value}; it must be above 0.")


def check_counts(config: Any, *names: str, least: int = 1) -> None:
    """Reject counts and widths below `least`; otherwise as `check_above_zero`."""
    for name, value in _values(config, names):
        if value < least:
            raise ConfigError(f"method.{name} is {value}; expected at least {least}.")


def check_shares(config: Any, *names: str) -> None:
    """Reject values outside [0, 1]; otherwise as `check_above_zero`."""
    for name, value in _values(config, names):
        if not 0 <= value <= 1:
            raise ConfigError(f"method.{name} is {value}; expected within [0, 1].")


def _values(config: Any, names: tuple[str, ...]) -> list[tuple[str, Any]]:
    return [(name, getattr(config, name)) for name in names if getattr(config, name) is not None]
