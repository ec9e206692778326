"""Generated scenes as a source: "scenes:train=8000,validation=1000,seed=0,style=flat,size=64"."""

from __future__ import annotations

import zlib
from typing import Any

import numpy as np

from likewise.data.config import DataConfig
from likewise.data.images.stores import held
from likewise.data.record import Record, Source
from likewise.errors import ConfigError

__all__ = ["source_of_scenes"]

_DEFAULTS: dict[str, Any] = {
    "train": 8000, "validation": 1000, "test": 0, "seed": 0, "style": "flat", "size": 64
}  # fmt: skip


def source_of_scenes(config: DataConfig) -> Source:
    """Draw the scenes. Each part has a stream of its own, so a part does not change with another's count."""
    from likewise.data import scenes

    options = _parse(config.source)
    source = Source(kind="generated scenes", address=config.source, records=[], splits_from="generated")
    source.columns = {
        "image": "drawn",
        "text": "its caption",
        "label": "the main shape",
        "group": "equal captions",
    }
    source.columns_found = ["image", "caption"]
    source.unread = dict.fromkeys(("image_root", "text_separator", "encoding"), "scenes are drawn")
    pixels = []
    parts = {"train": config.train_split, "validation": config.validation_split, "test": "test"}
    if config.validation_split == "test":
        parts.pop("validation")
        options["test"] = options["test"] or options["validation"]
    for part, split in parts.items():
        if options[part] == 0:
            continue
        seed = _stream(options["seed"], part)
        drawn = scenes.draw_scenes(options[part], seed=seed, size=options["size"], style=options["style"])
        pixels.append(held(drawn.images))
        labels = [drawn.label_names[label] for label in drawn.labels]
        for number, (caption, label) in enumerate(zip(drawn.captions, labels, strict=True)):
            name = f"{part} scene {number}"
            record = Record(id=name, place=name, texts=(caption,), label=label, group=caption, split=split)
            source.records.append(record)
    source.pixels = np.concatenate(pixels) if pixels else None
    return source


def _stream(seed: int, part: str) -> int:
    """The seed of a part: the training part keeps the user's own."""
    return seed if part == "train" else (seed * 1_000_003 + zlib.crc32(part.encode())) & 0x7FFFFFFF


def _parse(address: str) -> dict[str, Any]:
    options = dict(_DEFAULTS)
    for item in filter(None, address.removeprefix("scenes").removeprefix(":").split(",")):
        key, separator, value = (part.strip() for part in item.partition("="))
        if key not in options or not separator:
            raise ConfigError(
                f"{address}: unknown part {item!r}; expected {', '.join(_DEFAULTS)}, each as name=value"
            )
        try:
            options[key] = value if key == "style" else int(value)
        except ValueError:
            raise ConfigError(f"{address}: {key} must be a whole number, got {value!r}") from None
    if options["train"] < 1 or min(options["validation"], options["test"]) < 0 or options["size"] < 8:
        raise ConfigError(f"{address}: train must be at least 1 and size at least 8")
    return options
