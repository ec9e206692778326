"""Random views of a batch of images, made where the batch is.

Legend: B images, H = W side of the stored images, S side of the views, in pixels.

Random numbers depend on (seed, step, index, view) only, so a view does not depend on its batch, the device,
or the number of workers and processes. Blur, like cropping, is linear in rows and columns, so it is
multiplied into the resampling matrices and costs no pass over pixels. It therefore comes before the colour
operations instead of after them; the results differ only by their clamping and hue shift.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor

from likewise.hardware import constant
from likewise.step_random import StepRandom
from likewise.views.colour import ColourDraws, change_colours
from likewise.views.config import ViewConfig
from likewise.views.randaugment import SLOTS, Operations, draw_operations, randaugment
from likewise.views.resample import (
    draw_boxes,
    gaussian_weights,
    resample,
    resample_rotated,
    triangle_weights,
)

__all__ = ["center_view", "random_view"]

# Slots of an image's random numbers. Appending one does not change the others.
_FLIP, _JITTER, _GREY, _BLUR, _SIGMA, _SOLARIZE, _ROTATION, _TURN = range(8)
_FACTORS, _ORDER, _BOX, _NUM_SLOTS = 8, 11, 15, 37

# Radians. Up to 45 degrees an object on the left stays more to the left than above or below.
_MAX_SAFE_ANGLE = math.pi / 4

# Bytes of images processed at a time on CPU: small enough for the cache, large enough that calls cost little.
# Half and twice as many took a fifth and two fifths longer (80 to 64 px, one thread).
_CHUNK_BYTES = 5_000_000


def random_view(
    images: Tensor,
    *,
    size: int,
    config: ViewConfig,
    draw: StepRandom,
    index: Tensor,
    view: int,
    mean: Sequence[float],
    std: Sequence[float],
    keep_sides: Tensor | None = None,
    keep_colours: Tensor | None = None,
    dtype: torch.dtype = torch.float32,
) -> Tensor:
    """One random view of each image.

    Args:
        images: (B, 3, H, W) uint8, square, RGB.
        size: side of the views, S.
        config: the operations and their strengths.
        draw: the step's random numbers.
        index: (B,) int64, the images' keys (`Batch.key`); equal keys get equal views.
        view: number of the view; different numbers are independent.
        mean: of each channel, in [0, 1].
        std: of each channel.
        keep_sides: (B,) bool, no flip and no large rotation where True. Ignored unless `config.caption_safe`.
        keep_colours: (B,) bool, no hue shift, grey, solarizing, autocontrast or equalize where True. Ignored
            unless `config.caption_safe`.
        dtype: of the result; computed in float32.

    Returns:
        (B, 3, S, S) of `dtype`, (value in [0, 1] - mean) / std.

    Raises:
        ValueError: images that are not (B, 3, H, H) uint8, an index of another length.
    """
    _check(images, size)
    if index.shape != images.shape[:1]:
        raise ValueError(f"random_view: index has shape {tuple(index.shape)}, expected ({len(images)},)")
    slots = _NUM_SLOTS + SLOTS * config.randaugment
    uniform = draw.uniform(index.to(images.device), slots, purpose=f"view {view}")  # (B, 37 and more)
    safe = config.caption_safe
    views = torch.empty((len(images), 3, size, size), dtype=dtype, device=images.device)
    with _full_precision(images.device):
        recipe = _draw_recipe(
            uniform,
            config,
            side=images.shape[2],
            keep_sides=keep_sides if safe else None,
            keep_colours=keep_colours if safe else None,
        )
        for part in _parts(images):
            pixels = _crop(images[part], recipe, part, size, config)  # (b, 3, S * S) in [0, 255]
            if config.changes_colour:
                pixels = change_colours(pixels.clamp_(0, 255), recipe.colours.of(part))
            if config.solarize > 0:
                pixels = pixels.clamp_(0, 255)
                bright = recipe.solarized[part, None, None] & (pixels >= 128)
                pixels = torch.where(bright, 255 - pixels, pixels)
            if config.randaugment > 0:
                operations = recipe.operations.of(part)
                pixels = randaugment(pixels.clamp_(0, 255), operations, magnitude=config.magnitude, size=size)
            views[part] = _normalize(pixels, mean, std).view(-1, 3, size, size)
    return views


def center_view(
    images: Tensor,
    *,
    size: int,
    mean: Sequence[float],
    std: Sequence[float],
    dtype: torch.dtype = torch.float32,
) -> Tensor:
    """The evaluation view: the whole stored square, resized with antialiasing.

    Arguments, result and errors as in `random_view`.
    """
    _check(images, size)
    side = images.shape[2]
    whole = torch.full((1,), float(side), device=images.device)
    weights = triangle_weights(torch.zeros_like(whole), whole, source=side, size=size)  # (1, S, H)
    views = torch.empty((len(images), 3, size, size), dtype=dtype, device=images.device)
    with _full_precision(images.device):
        for part in _parts(images):
            shared = weights.expand(len(images[part]), size, side)
            pixels = resample(images[part], shared, shared)
            views[part] = _normalize(pixels, mean, std).view(-1, 3, size, size)
    return views


@contextmanager
def _full_precision(device: torch.device) -> Iterator[None]:
    """No graph, and no autocast: bf16 products of pixels are off by more than a grey level."""
    with torch.no_grad(), torch.autocast(device.type, enabled=False):
        yield


def _check(images: Tensor, size: int) -> None:
    if images.dtype != torch.uint8:
        raise ValueError(f"views are made from uint8 images in [0, 255], got {images.dtype}")
    if images.ndim != 4 or images.shape[1] != 3:
        raise ValueError(f"views are made from images (B, 3, H, W), got {tuple(images.shape)}")
    if images.shape[2] != images.shape[3]:
        raise ValueError(
            f"views are made from square images, got {images.shape[2]} x {images.shape[3]};"
            " the data's `fit` option makes them square"
        )
    if size < 1:
        raise ValueError(f"the side of a view must be at least 1 pixel, got {size}")


@dataclass(frozen=True, kw_only=True)
class _Recipe:
    """Random parameters of B images."""

    boxes: Tensor  # (B, 4) left, top, width, height in pixels of the stored image
    flip: Tensor  # (B,) bool
    angle: Tensor  # (B,) radians
    blurred: Tensor  # (B,) bool
    sigma: Tensor  # (B,) pixels of the view
    solarized: Tensor  # (B,) bool
    colours: ColourDraws
    operations: Operations  # of RandAugment


def _draw_recipe(
    uniform: Tensor, config: ViewConfig, *, side: int, keep_sides: Tensor | None, keep_colours: Tensor | None
) -> _Recipe:
    """Turn (B, 37 or more) uniform numbers into the parameters of each image."""
    flip = uniform[:, _FLIP] < config.flip
    max_angle, swing = math.radians(config.rotation_degrees), 2 * uniform[:, _ROTATION] - 1
    angle = max_angle * swing
    if keep_sides is not None:
        kept = keep_sides.to(flip.device)
        flip = flip & ~kept
        angle = torch.where(kept, min(max_angle, _MAX_SAFE_ANGLE) * swing, angle)
    turn = config.hue * (2 * uniform[:, _TURN] - 1)
    grey = uniform[:, _GREY] < config.grey
    solarized = uniform[:, _SOLARIZE] < config.solarize
    if keep_colours is not None:
        kept = keep_colours.to(grey.device)
        turn = torch.where(kept, 0.0, turn)
        grey = grey & ~kept
        solarized = solarized & ~kept
    strengths = constant((config.brightness, config.contrast, config.saturation), uniform.device)
    low = (1 - strengths).clamp_min(0)
    colours = ColourDraws(
        factors=low + (1 + strengths - low) * uniform[:, _FACTORS:_ORDER],
        turn=turn,
        order=uniform[:, _ORDER:_BOX].argsort(dim=1),
        jitter=uniform[:, _JITTER] < config.jitter,
        grey=grey,
    )
    crops = uniform[:, _BOX:_NUM_SLOTS]
    return _Recipe(
        boxes=draw_boxes(crops, scale=config.crop_scale, ratio=config.crop_ratio, height=side, width=side),
        flip=flip,
        angle=angle,
        blurred=uniform[:, _BLUR] < config.blur,
        sigma=config.blur_sigma[0] + (config.blur_sigma[1] - config.blur_sigma[0]) * uniform[:, _SIGMA],
        solarized=solarized,
        colours=colours,
        operations=draw_operations(uniform[:, _NUM_SLOTS:], keep_colours),
    )


def _parts(images: Tensor) -> list[slice]:
    """Slices of a batch to process one after the other."""
    if images.device.type != "cpu":
        return [slice(0, len(images))]
    chunk = max(1, _CHUNK_BYTES // (images[0].numel() * 4)) if len(images) > 0 else 1
    return [slice(start, start + chunk) for start in range(0, len(images), chunk)]


def _crop(images: Tensor, recipe: _Recipe, part: slice, size: int, config: ViewConfig) -> Tensor:
    """(b, 3, S * S) float32 in [0, 255]: cropped, flipped, rotated, blurred."""
    side = images.shape[2]
    boxes, flip = recipe.boxes[part], recipe.flip[part]
    if config.rotation_degrees > 0:
        pixels = resample_rotated(images, boxes, flip, recipe.angle[part], size)
        if config.blur > 0:
            sigma = torch.where(recipe.blurred[part], recipe.sigma[part], _NO_BLUR)
            blur = gaussian_weights(sigma, size)[:, None]  # (b, 1, S, S)
            pixels = (blur @ pixels.view(-1, 3, size, size) @ blur.transpose(2, 3)).flatten(2)
        return pixels
    columns = triangle_weights(boxes[:, 0], boxes[:, 2], source=side, size=size, reverse=flip)
    rows = triangle_weights(boxes[:, 1], boxes[:, 3], source=side, size=size)
    if config.blur > 0:
        _fold_blur(rows, columns, recipe.blurred[part], recipe.sigma[part])
    return resample(images, rows, columns)


_NO_BLUR = 1e-3  # pixels: a Gaussian this narrow is the identity, exactly


def _fold_blur(rows: Tensor, columns: Tensor, blurred: Tensor, sigma: Tensor) -> None:
    """Multiply the blur into the resampling weights (b, S, H) of the blurred images, in place."""
    if rows.device.type == "cpu":
        chosen = torch.nonzero(blurred)[:, 0]
        blur = gaussian_weights(sigma[chosen], rows.shape[1])  # (c, S, S)
        for weights in (rows, columns):
            weights[chosen] = torch.bmm(blur, weights[chosen])
    else:
        # Reading which images are blurred would stall the device, so the others get the identity.
        blur = gaussian_weights(torch.where(blurred, sigma, _NO_BLUR), rows.shape[1])
        for weights in (rows, columns):
            weights.copy_(torch.bmm(blur, weights))


def _normalize(pixels: Tensor, mean: Sequence[float], std: Sequence[float]) -> Tensor:
    """Clamp (B, 3, S * S) to [0, 255] and normalize, in place."""
    scale = constant(tuple(1 / (255 * one) for one in std), pixels.device)
    shift = constant(tuple(-m / s for m, s in zip(mean, std, strict=True)), pixels.device)
    return pixels.clamp_(0, 255).mul_(scale[:, None]).add_(shift[:, None])
