"""Generated sounds as a source: "sounds:train=2000,validation=500,seed=0,rate=16000,size=64".

Those who need images get one of each sound, of `size` pixels a side.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from likewise.data.columns import Needs, columns_read
from likewise.data.config import DataConfig
from likewise.data.images.stores import held
from likewise.data.record import Generated, Record, Source
from likewise.data.sounds import make_sounds
from likewise.data.sources.generated import options_of_address, part_seed, parts_to_make
from likewise.errors import ConfigError

__all__ = ["source_of_sounds"]

_DEFAULTS = {"train": 2000, "validation": 500, "test": 0, "seed": 0, "rate": 16_000, "size": 64}


def source_of_sounds(config: DataConfig, needs: Needs | None = None) -> Source:
    """Make the sounds. Each part has a stream of its own, so a part does not change with another's count."""
    options = _parse(config.source)
    reads = columns_read(needs or Needs("audio"))
    source = Source(kind="generated sounds", address=config.source, records=[], splits_from="generated")
    described = {
        "image": "its events, drawn as shapes",
        "audio": "synthesised",
        "text": "its caption",
        "label": "the loud event",
        "group": "equal captions",
    }
    source.columns = {name: said for name, said in described.items() if name in reads}
    source.columns_found = ["image", "audio", "caption", "label"]
    source.unread = dict.fromkeys(("image_root", "text_separator", "encoding"), "sounds are synthesised")
    waves: list[NDArray[np.int16]] = []
    pixels: list[NDArray[np.uint8]] = []
    for part, split, count in parts_to_make(config, options):
        size = options["size"] if "image" in reads else None
        made = make_sounds(
            count, seed=part_seed(options["seed"], part), rate=options["rate"], image_size=size
        )
        start = sum(len(part_waves) for part_waves in waves)
        waves.append(made.waves)
        pixels += [] if made.images is None else [held(made.images)]
        for number, caption in enumerate(made.captions):
            row: dict[str, Any] = dict.fromkeys(("image", "audio"), Generated(start + number))
            row |= {"text": (caption,), "group": caption, "label": made.label_names[made.labels[number]]}
            name = f"{part} sound {number}"
            values = {column: value for column, value in row.items() if column in reads}
            source.records.append(Record(id=name, place=name, split=split, **values))
    source.waves, source.rate = np.concatenate(waves), options["rate"]
    source.pixels = np.concatenate(pixels) if pixels else None
    return source


def _parse(address: str) -> dict[str, Any]:
    options = options_of_address(address, _DEFAULTS)
    if options["train"] < 1 or min(options["validation"], options["test"]) < 0:
        raise ConfigError(f"{address}: train must be at least 1, validation and test at least 0")
    return options
