"""What generated sources share: the options in their addresses, and their parts."""

from __future__ import annotations

import zlib
from collections.abc import Collection, Mapping
from typing import Any

from likewise.data.config import DataConfig
from likewise.errors import ConfigError

__all__ = ["options_of_address", "part_seed", "parts_to_make"]


def options_of_address(
    address: str, defaults: Mapping[str, Any], *, words: Collection[str] = ()
) -> dict[str, Any]:
    """The options of an address such as "scenes:train=100,style=sketch".

    Args:
        address: the name of the source, a colon and name=value items.
        defaults: of all options.
        words: options that are not whole numbers.

    Raises:
        ConfigError: an option is unknown, or is no whole number.
    """
    options = dict(defaults)
    for item in filter(None, address.partition(":")[2].split(",")):
        key, separator, value = (part.strip() for part in item.partition("="))
        if key not in options or not separator:
            raise ConfigError(
                f"{address}: unknown part {item!r}; expected {', '.join(defaults)}, each as name=value"
            )
        try:
            options[key] = value if key in words else int(value)
        except ValueError:
            raise ConfigError(f"{address}: {key} must be a whole number, got {value!r}") from None
    return options


def parts_to_make(config: DataConfig, options: Mapping[str, Any]) -> list[tuple[str, str, int]]:
    """The parts that are not empty: name, split and number of samples of each.

    With `--data.validation-split test` the test part validates, with the count of the validation part where
    it has none of its own.
    """
    counts = {part: int(options[part]) for part in ("train", "validation", "test")}
    splits = {"train": config.train_split, "validation": config.validation_split, "test": "test"}
    if config.validation_split == "test":
        splits.pop("validation")
        counts["test"] = counts["test"] or counts["validation"]
    return [(part, split, counts[part]) for part, split in splits.items() if counts[part]]


def part_seed(seed: int, part: str) -> int:
    """The seed of a part of a generated source: the training part keeps the user's own."""
    return seed if part == "train" else (seed * 1_000_003 + zlib.crc32(part.encode())) & 0x7FFFFFFF
