"""RandAugment without colour operations: a few operations drawn for each image, all of one magnitude.

Cubuk et al., 2019, arXiv 1909.13719. Operations and constants are those of ALBEF's code (Li 2021, arXiv
2107.07651), which TCL shares: ten operations, each applied with probability 0.5, and grey outside the image.
Shifts are shares of the side, where that code has pixels of a 256-pixel image; pixels are not rounded between
operations.

Legend: B images, N operations an image, S side, P = S * S pixels.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from likewise.views.selection import apply_where

__all__ = ["OPERATIONS", "SLOTS", "Operations", "draw_operations", "randaugment"]

OPERATIONS = (
    "identity",
    "autocontrast",
    "equalize",
    "brightness",
    "sharpness",
    "rotate",
    "shear_x",
    "shear_y",
    "translate_x",
    "translate_y",
)
SLOTS = 3  # random numbers of an operation: its kind, whether to apply it, its sign

_AUTOCONTRAST, _EQUALIZE, _BRIGHTNESS, _SHARPNESS, _ROTATE = range(1, 6)
_SHEAR_X, _SHEAR_Y, _TRANSLATE_X, _TRANSLATE_Y = range(6, 10)
# At magnitude 10. Brightness and sharpness range from 0.1 to 1.9 and have no sign.
_DEGREES, _SHEAR, _SHIFT, _ENHANCE = 30.0, 0.3, 10 / 256, (0.1, 1.8)
_OUTSIDE = 128.0


class Operations(NamedTuple):
    """Random parameters of each image.

    Attributes:
        kinds: (B, N) int64, indices into `OPERATIONS`.
        signs: (B, N) float32, -1 or 1, of a rotation, shear or translation.
    """

    kinds: Tensor
    signs: Tensor

    def of(self, part: slice) -> Operations:
        """The parameters of some images."""
        return Operations(self.kinds[part], self.signs[part])


def draw_operations(uniform: Tensor, keep_colours: Tensor | None) -> Operations:
    """Operations from random numbers.

    Args:
        uniform: (B, 3 N) in [0, 1).
        keep_colours: (B,) bool, no autocontrast and no equalize where True: they change each channel
            separately.
    """
    count = uniform.shape[1] // SLOTS
    which, whether, way = uniform.reshape(len(uniform), count, SLOTS).unbind(2)  # (B, N) each
    kinds = torch.where(whether < 0.5, (which * len(OPERATIONS)).long(), 0)
    if keep_colours is not None:
        by_channel = (kinds == _AUTOCONTRAST) | (kinds == _EQUALIZE)
        kinds = torch.where(by_channel & keep_colours.to(kinds.device)[:, None], 0, kinds)
    return Operations(kinds, torch.where(way < 0.5, -1.0, 1.0))


def randaugment(pixels: Tensor, operations: Operations, *, magnitude: float, size: int) -> Tensor:
    """Do to each image, one after the other, the operations that were drawn for it.

    Args:
        pixels: (B, 3, S * S) float32 in [0, 255]; may be written over.
        operations: of B images.
        magnitude: in [0, 10].
        size: S.

    Returns:
        (B, 3, S * S) in [0, 255].
    """
    share = magnitude / 10
    enhance = _ENHANCE[0] + _ENHANCE[1] * share

    def moved(rows: Tensor, kind: Tensor, sign: Tensor) -> Tensor:
        return _move(rows, _inverse_maps(kind, sign * share, size), size)

    tones: dict[int, Callable[[Tensor], Tensor]] = {
        _AUTOCONTRAST: _autocontrast,
        _EQUALIZE: _equalize,
        _BRIGHTNESS: lambda rows: (rows * enhance).clamp_(0, 255),
        _SHARPNESS: lambda rows: _sharpness(rows, enhance, size),
    }
    for kind, sign in zip(operations.kinds.unbind(1), operations.signs.unbind(1), strict=True):
        for place, tone in tones.items():
            pixels = apply_where(kind == place, tone, pixels)
        pixels = apply_where(kind >= _ROTATE, moved, pixels, kind, sign)
    return pixels


def _autocontrast(pixels: Tensor) -> Tensor:
    """Stretch each channel to the full range; constant channels are unchanged."""
    low, high = (bound.round() for bound in torch.aminmax(pixels, dim=2, keepdim=True))
    scale = torch.where(high > low, 255 / (high - low), 1.0)
    return ((pixels - torch.where(high > low, low, 0.0)) * scale).clamp_(0, 255)


def _equalize(pixels: Tensor) -> Tensor:
    """Equalize each channel's histogram as Pillow does; nearly constant channels are unchanged."""
    levels = pixels.round().long()  # (B, 3, P)
    counts = torch.zeros((*levels.shape[:2], 256), dtype=torch.long, device=levels.device)
    counts.scatter_add_(2, levels, torch.ones_like(levels))
    brightest = counts.gather(2, levels.amax(dim=2, keepdim=True))  # (B, 3, 1) pixels of that level
    step = (levels.shape[2] - brightest) // 255
    below = counts.cumsum(2) - counts  # pixels darker than each level
    evened = ((step // 2 + below) // step.clamp_min(1)).clamp_max(255)
    return torch.where(step > 0, evened.gather(2, levels).to(pixels.dtype), pixels)


def _sharpness(pixels: Tensor, factor: float, size: int) -> Tensor:
    """Away from the smoothed image for factors above 1, towards it below; the border is unchanged."""
    if size < 3:
        return pixels
    square = pixels.reshape(-1, 3, size, size).clone()
    kernel = torch.ones((3, 1, 3, 3), device=pixels.device)
    kernel[:, :, 1, 1] = 5
    smooth = F.conv2d(square, kernel / 13, groups=3)  # (B, 3, S - 2, S - 2)
    inner = square[:, :, 1:-1, 1:-1]
    inner.copy_(torch.lerp(smooth, inner, factor).clamp_(0, 255))
    return square.flatten(2)


def _inverse_maps(kind: Tensor, strength: Tensor, size: int) -> Tensor:
    """(B, 2, 3) affine maps from result to image coordinates, in pixels from the centre of the first one.

    Args:
        kind: (B,) a rotation, a shear or a translation.
        strength: (B,) in [-1, 1].
        size: S.
    """

    def of(place: int, most: float) -> Tensor:
        return torch.where(kind == place, strength * most, 0.0)

    angle = of(_ROTATE, math.radians(_DEGREES))
    cos, sin, zero = torch.cos(angle), torch.sin(angle), torch.zeros_like(angle)
    centre = (size - 1) / 2
    shift_x, shift_y = of(_TRANSLATE_X, _SHIFT * size), of(_TRANSLATE_Y, _SHIFT * size)
    turned = torch.stack(
        [cos, -sin, centre * (1 - cos + sin) + shift_x, sin, cos, centre * (1 - cos - sin) + shift_y], dim=1
    ).view(-1, 2, 3)
    sheared = torch.stack([zero, of(_SHEAR_X, _SHEAR), zero, of(_SHEAR_Y, _SHEAR), zero, zero], dim=1)
    return turned - sheared.view(-1, 2, 3)


def _move(pixels: Tensor, maps: Tensor, size: int) -> Tensor:
    """Sample the images at the coordinates given by `maps` (B, 2, 3), bilinearly."""
    line = torch.arange(size, device=pixels.device, dtype=torch.float32)
    y, x = torch.meshgrid(line, line, indexing="ij")
    places = torch.stack([x, y, torch.ones_like(x)]).flatten(1)  # (3, P)
    grid = ((maps @ places).transpose(1, 2) * 2 + 1) / size - 1  # (B, P, 2)
    # `grid_sample` pads with zeros.
    square = pixels.view(-1, 3, size, size) - _OUTSIDE
    moved = F.grid_sample(square, grid.view(-1, size, size, 2), padding_mode="zeros", align_corners=False)
    return moved.add_(_OUTSIDE).flatten(2)
