"""Draws what generated sounds hold: each event as a shape, in the order in which they are heard.

Legend: N sounds, at most K = 3 events in each, S side of the image in pixels.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from likewise.data.scenes.content import COLOURS, SHAPES, SceneContent
from likewise.data.scenes.drawing import draw_images
from likewise.data.sounds.content import KINDS, MAX_EVENTS, SoundContent
from likewise.step_random import StepRandom

__all__ = ["draw_sounds"]

_SHAPE_OF = {
    "tone": "circle",
    "rising chirp": "triangle",
    "falling chirp": "heart",
    "noise burst": "star",
    "clicks": "cross",
}
_SHAPES = np.array([SHAPES.index(_SHAPE_OF[kind]) for kind in KINDS])
_CLICK_COLOURS = np.array([COLOURS.index(name) for name in ("red", "green", "blue")])  # of 2, 3 and 4 clicks
_RADIUS = np.array([0.07, 0.14])  # of the image's side: soft and loud
_LOWEST, _HIGHEST = 160.0, 2500.0  # Hz, at the bottom and at the top


def draw_sounds(content: SoundContent, draw: StepRandom, *, size: int) -> NDArray[np.uint8]:
    """An image of every sound.

    The kind of an event is a shape (a circle for a tone, a triangle for a rising and a heart for a falling
    chirp, a star for a noise burst, a cross for clicks), its pitch the height, its loudness the size; events
    go from left to right. The color of a cross says how many clicks there are; other colors and the
    background say nothing.

    Args:
        content: what N sounds hold.
        draw: the same as that of the content; colors and backgrounds hang on it.
        size: S.

    Returns:
        (N, 3, S, S) uint8, RGB.
    """
    unused = content.kinds < 0
    uniform = draw.uniform(torch.arange(len(unused)), 3 * MAX_EVENTS, purpose="sound drawing").numpy()
    colours, across, along = np.split(uniform, 3, axis=1)  # (N, 3) each
    is_clicks = content.kinds == KINDS.index("clicks")
    number = np.clip(content.repeats - 2, 0, 2)
    places = (np.arange(MAX_EVENTS) + 0.5 + 0.1 * (across - 0.5)) / content.counts[:, None]
    pitch = np.log(np.maximum(content.frequencies, _LOWEST) / _LOWEST) / np.log(_HIGHEST / _LOWEST)
    heights = 0.84 - 0.68 * pitch + 0.04 * (along - 0.5)

    any_colour = np.floor(colours * len(COLOURS))
    colour = np.where(is_clicks, _CLICK_COLOURS[number], any_colour)

    def used(values: NDArray[Any], blank: float = -1) -> NDArray[Any]:
        return np.where(unused, blank, values)

    shapes = SceneContent(
        colours=used(colour).astype(int),
        shapes=used(_SHAPES[content.kinds]),
        sizes=content.loudness,
        relations=np.full((len(unused), MAX_EVENTS - 1), -1),  # no words are made of them
        counts=content.counts,
        centres=np.stack([used(places, 0), used(heights, 0)], axis=2).astype(np.float32),
        radii=used(_RADIUS[content.loudness], 0).astype(np.float32),
    )
    return draw_images(shapes, draw, size=size, style="flat")[0]
