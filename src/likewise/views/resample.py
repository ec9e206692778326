"""Crop, flip and resize as two matrix products per image, with Pillow's antialiasing triangle filter.

Legend: B images, H and W their height and width, S side of the views, in pixels.

Resizing is linear and separable: a view is `rows @ image @ columns^T`, with one (S, H) and one (S, W) matrix
for each image. Their weights are those of Pillow's `resize(box=..., resample=BILINEAR)`: triangles that widen
with the downscaling factor. The crop sets where the triangles lie, the flip the order of the rows.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

__all__ = ["draw_boxes", "gaussian_weights", "resample", "resample_rotated", "triangle_weights"]

_CROP_ATTEMPTS = 10


def draw_boxes(
    uniform: Tensor,
    *,
    scale: tuple[float, float],
    ratio: tuple[float, float],
    height: int,
    width: int,
) -> Tensor:
    """Random crops as in torchvision's RandomResizedCrop, but not rounded to whole pixels.

    Args:
        uniform: (B, 22) in [0, 1): two for the position, then ten attempts of two (area, ratio). The first
            attempt that fits is used, or else the largest centred crop of an allowed ratio.
        scale: minimum and maximum share of the area.
        ratio: minimum and maximum width / height.
        height: H.
        width: W.

    Returns:
        (B, 4) float32: left, top, width, height in pixels.
    """
    attempts = uniform[:, 2:].reshape(-1, _CROP_ATTEMPTS, 2)
    area = height * width * (scale[0] + (scale[1] - scale[0]) * attempts[:, :, 0])
    low, high = math.log(ratio[0]), math.log(ratio[1])
    shape = torch.exp(low + (high - low) * attempts[:, :, 1])
    wide, tall = torch.sqrt(area * shape), torch.sqrt(area / shape)  # (B, 10)
    fits = (wide <= width) & (tall <= height)
    first = fits & (fits.cumsum(dim=1) == 1)  # (B, 10) True at the first attempt that fits
    own = min(max(width / height, ratio[0]), ratio[1])
    largest = (min(width, height * own), min(height, width / own))
    found = fits.any(dim=1)
    wide = torch.where(found, (wide * first).sum(dim=1), largest[0])
    tall = torch.where(found, (tall * first).sum(dim=1), largest[1])
    place_x = torch.where(found, uniform[:, 0], 0.5)
    place_y = torch.where(found, uniform[:, 1], 0.5)
    return torch.stack([place_x * (width - wide), place_y * (height - tall), wide, tall], dim=1)


def triangle_weights(
    start: Tensor, length: Tensor, *, source: int, size: int, reverse: Tensor | None = None
) -> Tensor:
    """Weights that resize one axis of each image, as Pillow's BILINEAR.

    Args:
        start: (B,) start of the crop, in pixels of the source.
        length: (B,) length of the crop.
        source: pixels of the source along this axis, N.
        size: pixels of the view, S.
        reverse: (B,) bool, reverse the rows where True.

    Returns:
        (B, S, N) float32; rows sum to 1.
    """
    places = torch.arange(size, device=start.device, dtype=torch.float32) + 0.5
    pixels = torch.arange(source, device=start.device, dtype=torch.float32) + 0.5
    step = (length / size)[:, None]  # source pixels to a view pixel
    if reverse is not None:
        places = torch.where(reverse[:, None], size - places, places)
    reach = step.clamp_min(1.0)
    # The weight is 1 - |pixel - centre| / reach; divided by the reach before the large array is made.
    centres = (start[:, None] + places * step) / reach  # (B, S)
    away = (pixels / reach)[:, None, :] - centres[:, :, None]  # (B, S, N)
    weights = away.abs_().neg_().add_(1.0).clamp_min_(0.0)
    return weights.div_(weights.sum(dim=2, keepdim=True))


def gaussian_weights(sigma: Tensor, size: int) -> Tensor:
    """(B, S, S) matrices that blur one axis by `sigma` (B,) pixels.

    The image is mirrored at its borders without repeating the border pixels. The Gaussian is not truncated;
    rows sum to 1.
    """
    reach = torch.arange(2 * size - 1, device=sigma.device)
    curve = torch.exp(-0.5 * (reach / sigma[:, None]) ** 2)  # (B, 2S - 1) by distance
    both_sides = torch.cat([curve[:, 1:size].flip(1), curve[:, :size]], dim=1)
    # Sliding windows are views; indexing each (i, j) was five times slower.
    weights = both_sides.unfold(1, size, 1).flip(1)  # (B, S, S) by |i - j|
    before = curve.unfold(1, size, 1)  # by i + j: the mirror image before the first pixel
    after = before.flip((1, 2))  # by 2 (S - 1) - i - j
    inner = slice(1, size - 1)  # border pixels have no mirror image
    weights[:, :, inner] += before[:, :, inner] + after[:, :, inner]
    return weights.div_(weights.sum(dim=2, keepdim=True))


def resample(images: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    """`rows @ image @ columns^T` for every image and channel.

    Args:
        images: (B, 3, H, W) uint8.
        rows: (B, S, H) float32.
        columns: (B, S, W) float32.

    Returns:
        (B, 3, S * S) float32 in the units of the images.
    """
    B, C, H, W = images.shape
    S = rows.shape[1]
    # Channels move between the axes during the conversion to float, so each axis is one large product without
    # copies: (H, 3, W) times columns, then rows times (H, 3 S).
    pixels = torch.empty((B, H, C, W), device=images.device).copy_(images.permute(0, 2, 1, 3))
    across = torch.bmm(pixels.view(B, H * C, W), columns.transpose(1, 2))  # (B, 3 H, S)
    view = torch.bmm(rows, across.view(B, H, C * S))  # (B, S, 3 S)
    return view.view(B, S, C, S).transpose(1, 2).reshape(B, C, S * S)


def resample_rotated(images: Tensor, boxes: Tensor, flip: Tensor, angle: Tensor, size: int) -> Tensor:
    """Crop, flip and rotation about the crop's centre in one bilinear sampling.

    The image is mirrored at its borders: black corners would reveal the angle. Downscaling averages several
    samples per pixel, which approximates antialiasing.

    Args:
        images: (B, 3, H, W) uint8.
        boxes: (B, 4) left, top, width, height in pixels.
        flip: (B,) bool.
        angle: (B,) radians, counter-clockwise.
        size: S.

    Returns:
        (B, 3, S * S) float32 in the units of the images.
    """
    B, _, H, W = images.shape
    finer = max(1, math.ceil(max(H, W) / size))
    side = finer * size
    line = (
        torch.arange(side, device=boxes.device) + 0.5
    ) / side - 0.5  # (side,) in crop sides, from the centre
    left, top, wide, tall = (boxes[:, k, None, None] for k in range(4))
    x = torch.where(flip[:, None, None], -line, line) * wide  # (B, 1, side) pixels
    y = line[:, None] * tall  # (B, side, 1)
    cos, sin = torch.cos(angle)[:, None, None], torch.sin(angle)[:, None, None]
    grid = torch.stack(
        [
            (left + wide / 2 + cos * x - sin * y) * (2 / W) - 1,
            (top + tall / 2 + sin * x + cos * y) * (2 / H) - 1,
        ],
        dim=3,
    )
    finely = F.grid_sample(
        images.float(), grid, mode="bilinear", padding_mode="reflection", align_corners=False
    )
    return F.avg_pool2d(finely, finer).reshape(B, 3, size * size)
