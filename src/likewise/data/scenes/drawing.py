"""Draws scenes as images: signed distances on small patches, many scenes at once.

Legend: n scenes of a chunk (or the shapes of one kind among them), S side of the image, m margin around it,
P side of a patch, in pixels. Two styles: "flat" (filled, shaded, with a soft shadow) and "sketch" (hatched
outlines on squared paper), meant as two domains.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from likewise.data.scenes.content import COLOURS, MAX_SHAPES, SHAPES, SceneContent
from likewise.step_random import StepRandom

__all__ = ["STYLES", "draw_images"]

Floats = NDArray[np.floating[Any]]  # float32 throughout, which the stubs of numpy cannot follow

STYLES = ("flat", "sketch")

_RGB = {
    "red": (214, 45, 48),
    "orange": (245, 134, 28),
    "yellow": (250, 208, 40),
    "green": (52, 160, 72),
    "blue": (45, 102, 206),
    "purple": (122, 62, 168),
    "pink": (246, 132, 180),
    "black": (38, 38, 44),
}
_PALETTE = np.array([_RGB[name] for name in COLOURS], dtype=np.float32)
_CHUNK = 128  # scenes drawn together: their float canvas stays in the processor's cache


def draw_images(
    content: SceneContent, draw: StepRandom, *, size: int, style: str
) -> tuple[NDArray[np.uint8], Floats]:
    """Draws every scene.

    Args:
        content: what N scenes show.
        draw: the same as that of the content; backgrounds, tilts and tints hang on it and on the style.
        size: side of the images in pixels.
        style: one of STYLES.

    Returns:
        Images (N, 3, S, S) uint8 and tight boxes (N, 3, 4) float32: left, top, right, bottom in pixels, right
        and bottom exclusive, 0 for unused slots.
    """
    total = len(content.counts)
    looks = draw.uniform(torch.arange(total), 40, purpose=f"scene {style}").numpy()  # (N, 40)
    images = np.empty((total, 3, size, size), dtype=np.uint8)
    boxes = np.zeros((total, MAX_SHAPES, 4), dtype=np.float32)
    margin = 4 + size // 16
    inner = slice(margin, margin + size)
    for start in range(0, total, _CHUNK):
        rows = np.arange(start, min(start + _CHUNK, total))
        canvas = _background(looks[rows], size + 2 * margin, style)  # (n, 3, S + 2m, S + 2m)
        for slot in range(MAX_SHAPES):
            for shape in range(len(SHAPES)):
                for large in (0, 1):
                    here = (content.shapes[rows, slot] == shape) & (content.sizes[rows, slot] == large)
                    chosen = np.flatnonzero(here)
                    if len(chosen) > 0:
                        boxes[rows[chosen], slot] = _stamp(
                            canvas, chosen, content, rows[chosen], slot, looks, margin, size, style
                        )
        grain = _grain(looks[rows], size)  # (n, 1, S, S)
        image = canvas[:, :, inner, inner]
        image += grain
        np.clip(image, 0, 255, out=image)
        images[rows] = image
    return images, boxes


def _background(looks: Floats, side: int, style: str) -> Floats:
    """(n, 3, side, side): a light tint with a gentle slope, and the lines of the paper in a sketch."""
    tint = 218 + 34 * looks[:, 0:3] if style == "flat" else 240 + np.array([10, 9, 4]) * looks[:, 0:3]
    angle = 2 * math.pi * looks[:, 3]
    strength = (14 if style == "flat" else 4) * looks[:, 4]
    line = np.linspace(-1, 1, side, dtype=np.float32)
    slope_x = (strength * np.cos(angle)).astype(np.float32)[:, None] * line  # (n, side)
    slope_y = (strength * np.sin(angle)).astype(np.float32)[:, None] * line
    if style == "sketch":
        pixels = np.arange(side, dtype=np.float32)
        gap = side / (7 + 3 * looks[:, 7, None])
        rules = [np.abs((pixels / gap + looks[:, k, None]) % 1 - 0.5) * gap for k in (5, 6)]
        slope_x -= 15 * np.clip(1.0 - rules[0], 0, 1)
        slope_y -= 15 * np.clip(1.0 - rules[1], 0, 1)
    level = slope_y[:, :, None] + slope_x[:, None, :]  # (n, side, side)
    return np.asarray(tint.astype(np.float32)[:, :, None, None] + level[:, None], dtype=np.float32)


def _grain(looks: Floats, size: int) -> Floats:
    """(n, 1, S, S) fine noise: windows of one fixed sheet, each at its own place, which is cheap."""
    sheet = np.random.default_rng(20260).normal(0, 1.6, (size + 64, size + 64)).astype(np.float32)
    places = np.floor(looks[:, 8:10] * 64).astype(np.int64)
    return sliding_window_view(sheet, (size, size))[places[:, 0], places[:, 1]][:, None]


def _stamp(
    canvas: Floats,
    chosen: NDArray[np.int64],
    content: SceneContent,
    rows: NDArray[np.int64],
    slot: int,
    looks: Floats,
    margin: int,
    size: int,
    style: str,
) -> Floats:
    """Draws one shape into each of the chosen scenes of a chunk; returns their boxes (n, 4)."""
    radius = content.radii[rows, slot] * size  # (n,) pixels
    centre = content.centres[rows, slot] * size + margin  # (n, 2)
    side = 2 * math.ceil(float(radius.max()) * 1.1 + 3)
    corner = np.clip(np.floor(centre).astype(np.int64) - side // 2, 0, canvas.shape[-1] - side)  # (n, 2)
    own = looks[rows, 10 + 10 * slot : 20 + 10 * slot]  # (n, 10)
    steps = np.arange(side, dtype=np.float32) + 0.5
    x = (corner[:, :1] + steps - centre[:, :1])[:, None, :]  # (n, 1, P) pixels from the centre
    y = (corner[:, 1:] + steps - centre[:, 1:])[:, :, None]  # (n, P, 1)
    tilt = ((own[:, 0] - 0.5) * math.radians(24)).astype(np.float32)[:, None, None]
    across = np.cos(tilt) * x + np.sin(tilt) * y  # (n, P, P)
    down = np.cos(tilt) * y - np.sin(tilt) * x
    scale = radius[:, None, None]
    distance = _DISTANCES[SHAPES[int(content.shapes[rows[0], slot])]](across / scale, down / scale) * scale
    colour = _PALETTE[content.colours[rows, slot]] + 26 * (own[:, 1:4] - 0.5)  # (n, 3)
    colour = np.clip(colour, 0, 255)[:, :, None, None].astype(np.float32)
    windows = sliding_window_view(canvas, (side, side), axis=(2, 3), writeable=True)
    patch = windows[chosen, :, corner[:, 1], corner[:, 0]]  # (n, 3, P, P)
    paint = _paint_flat if style == "flat" else _paint_sketch
    windows[chosen, :, corner[:, 1], corner[:, 0]] = paint(patch, distance, colour, x, y, down / scale, own)
    return _tight_boxes(distance, corner - margin, size)


def _paint_flat(
    patch: Floats, distance: Floats, colour: Floats, x: Floats, y: Floats, height: Floats, own: Floats
) -> Floats:
    """A filled shape, a little lighter at its top, over a soft shadow."""
    shadow = np.zeros_like(distance)
    shadow[:, 2:, 1:] = 0.22 * np.clip(0.5 - distance[:, :-2, :-1] / 3, 0, 1)
    patch = patch * (1 - shadow[:, None])
    cover = np.clip(0.5 - distance, 0, 1)[:, None]
    light = (1 - 0.10 * height)[:, None]
    return np.asarray(patch + cover * (colour * light - patch), dtype=np.float32)


def _paint_sketch(
    patch: Floats, distance: Floats, colour: Floats, x: Floats, y: Floats, height: Floats, own: Floats
) -> Floats:
    """A wavering outline, hatched inside at the scene's own angle."""
    phase = (2 * math.pi * own)[:, :, None, None]
    wavering = distance + 0.35 * np.sin(0.45 * x + phase[:, 4]) + 0.35 * np.sin(0.45 * y + phase[:, 5])
    outline = np.clip(1.45 - np.abs(wavering + 0.5), 0, 1)
    angle = (0.9 + 1.3 * own[:, 6])[:, None, None]
    gap = 3.1
    along = (x * np.cos(angle) + y * np.sin(angle)) / gap + own[:, 7, None, None]
    hatching = np.clip(1.25 - np.abs(along % 1 - 0.5) * gap, 0, 1) * np.clip(-distance, 0, 1)
    fill = 0.22 * np.clip(0.5 - distance, 0, 1)
    cover = np.maximum(np.maximum(outline, 0.8 * hatching), fill)[:, None]
    return np.asarray(patch + cover * (0.92 * colour - patch), dtype=np.float32)


def _tight_boxes(distance: Floats, corner: NDArray[np.int64], size: int) -> Floats:
    """(n, 4) the smallest boxes around the pixels whose centres a shape covers."""
    inside = distance < 0
    edges = []
    for axis in (0, 1):  # x, then y
        seen = np.asarray(inside.any(axis=1 + axis))  # (n, P)
        low = seen.argmax(axis=1)
        high = seen.shape[1] - seen[:, ::-1].argmax(axis=1)
        edges.append((corner[:, axis] + low, corner[:, axis] + high))
    box = np.stack([edges[0][0], edges[1][0], edges[0][1], edges[1][1]], axis=1)
    return np.asarray(np.clip(box, 0, size), dtype=np.float32)


# Signed distances of shapes of about unit radius, y down, negative inside. Exact where it is cheap; elsewhere
# a bound that is exact near the edge, which is all that antialiasing asks for.


def _circle(x: Floats, y: Floats) -> Floats:
    return np.asarray(np.sqrt(x * x + y * y) - 0.9)


def _square(x: Floats, y: Floats) -> Floats:
    return np.asarray(np.maximum(np.abs(x), np.abs(y)) - 0.80)


def _triangle(x: Floats, y: Floats) -> Floats:
    y = y - 0.20
    return np.asarray(np.maximum(y, 0.866 * np.abs(x) - 0.5 * y) - 0.57)


def _star(x: Floats, y: Floats) -> Floats:
    """Five points, folded onto one half point (after Inigo Quilez, "2D distance functions")."""
    x, y = np.abs(x), -y
    for sign in (1, -1):
        fold_x, fold_y = sign * math.cos(math.pi / 5), -math.sin(math.pi / 5)
        over = 2 * np.maximum(fold_x * x + fold_y * y, 0)
        x, y = x - over * fold_x, y - over * fold_y
    x, y = np.abs(x), y - 1.05
    edge_x, edge_y = 0.45 * math.sin(math.pi / 5), 0.45 * math.cos(math.pi / 5) - 1.05
    share = np.clip((x * edge_x + y * edge_y) / (edge_x**2 + edge_y**2), 0, 1)
    gone_x, gone_y = x - edge_x * share, y - edge_y * share
    return np.asarray(np.sqrt(gone_x**2 + gone_y**2) * np.sign(y * edge_x - x * edge_y))


def _heart(x: Floats, y: Floats) -> Floats:
    """Two lobes on a point (after Inigo Quilez)."""
    unit = 1.68
    x, y = np.abs(x) / unit, (0.86 - y) / unit
    lobe = np.sqrt((x - 0.25) ** 2 + (y - 0.75) ** 2) - math.sqrt(2) / 4
    half = 0.5 * np.maximum(x + y, 0)
    notch = np.minimum(x**2 + (y - 1) ** 2, (x - half) ** 2 + (y - half) ** 2)
    return np.asarray(unit * np.where(x + y > 1, lobe, np.sqrt(notch) * np.sign(x - y)))


def _cross(x: Floats, y: Floats) -> Floats:
    x, y = np.abs(x), np.abs(y)
    long, short = np.maximum(x, y), np.minimum(x, y)
    return np.asarray(np.maximum(long - 0.92, short - 0.32))


_DISTANCES = {
    "circle": _circle,
    "square": _square,
    "triangle": _triangle,
    "star": _star,
    "heart": _heart,
    "cross": _cross,
}
