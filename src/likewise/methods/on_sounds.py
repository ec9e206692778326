"""Methods that learn from images, on sounds: the same class whose first tower reads another column.

`simclr-audio` is SimCLR on sounds, `clip-audio` CLIP on sounds and captions (CLAP: Elizalde 2022, arXiv
2206.04769; Wu 2022, arXiv 2211.06687).
"""

from __future__ import annotations

import re
from functools import cache
from typing import Any

from likewise.data.columns import Needs
from likewise.methods.base import Method
from likewise.views import SOUND_PRESETS, SoundViewConfig

__all__ = ["SOUND_METHODS", "SUFFIX", "in_sounds", "on_sounds"]

SUFFIX = "-audio"
"""Ends the name of a method on sounds."""

SOUND_METHODS = {
    "byol": "simclr",
    "clip": "clip",
    "moco": "simclr",
    "siamese": "mild",
    "simclr": "simclr",
    "simsiam": "simclr",
    "supcon": "mild",
    "triplet": "mild",
}
"""Methods whose networks take one column in place of images, each with the preset of its views."""


@cache
def on_sounds(method: type[Method]) -> type[Method]:
    """A method of `SOUND_METHODS` that reads sounds where it read images."""
    preset = SOUND_PRESETS[SOUND_METHODS[method.name]]

    def views(_: int) -> SoundViewConfig:
        return preset

    columns = {"audio" if name == "image" else name: need for name, need in method.needs.columns.items()}
    changes: dict[str, Any] = {
        "__doc__": in_sounds(method.__doc__ or ""),
        "__module__": method.__module__,
        "name": method.name + SUFFIX,
        "title": f"{method.title} on sounds",
        "summary": in_sounds(method.summary),
        "needs": Needs(**columns),
        "view_families": dict.fromkeys(method.view_families, views),
        "image_defaults": {},
        "presets": {},
        "cost": None,
        "compares_color": False,
    }
    return type(f"{method.__name__}OnSounds", (method,), changes)


def in_sounds(text: str) -> str:
    """Words about images as words about sounds."""
    for pattern, other in _WORDS:
        text = re.sub(pattern, other, text)
    return text


_WORDS = (
    (r"\b([Aa])n image\b", r"\1 sound"),
    (r"\bAn image\b", "A sound"),
    (r"\bimage(s?)\b", r"sound\1"),
    (r"\bImage(s?)\b", r"Sound\1"),
    (r"\bphoto\b", "recording"),
    (r"despite crops and color\s+changes", "despite crops and other changes"),
)
