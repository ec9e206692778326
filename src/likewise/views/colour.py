"""Brightness, contrast, saturation, hue and grey as in torchvision, in a random order for each image.

Values are clamped after each operation, and hue is shifted in HSV. One linear map, clamped once, would be
faster, but SimCLR learnt a little less with it on CIFAR-10 (nearest neighbours 50.6 and 48.8 % instead of
51.2 and 49.7 %, one run each).

Legend: B images, P pixels.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from likewise.hardware import constant
from likewise.views.selection import apply_where

__all__ = ["GREY", "ColourDraws", "change_colours", "turn_hue"]

GREY = (0.299, 0.587, 0.114)  # ITU-R BT.601, as Pillow and torchvision

_CONTRAST, _HUE = 1, 3  # in `ColourDraws.order`


class ColourDraws(NamedTuple):
    """Random parameters of each image.

    Attributes:
        factors: (B, 3) of brightness, contrast, saturation; 1 is the identity.
        turn: (B,) hue shift as a share of the colour circle; 0 is the identity.
        order: (B, 4) int64, a permutation of 0 brightness, 1 contrast, 2 saturation, 3 hue.
        jitter: (B,) bool, whether to apply these four.
        grey: (B,) bool, whether to convert to grey at the end.
    """

    factors: Tensor
    turn: Tensor
    order: Tensor
    jitter: Tensor
    grey: Tensor

    def of(self, part: slice) -> ColourDraws:
        """The parameters of some images."""
        return ColourDraws(*(one[part] for one in self))


def change_colours(pixels: Tensor, draws: ColourDraws) -> Tensor:
    """Apply each image's operations.

    Args:
        pixels: (B, 3, P) float32 in [0, 255], RGB; overwritten.
        draws: of B images.

    Returns:
        (B, 3, P) in [0, 255].
    """
    pixels = _in_turn(pixels, draws) if pixels.device.type == "cpu" else _hue_once(pixels, draws)
    luma = constant(GREY, pixels.device)
    return apply_where(draws.grey, lambda rows: luma.expand(len(rows), 3, 3) @ rows, pixels)


def _in_turn(pixels: Tensor, draws: ColourDraws) -> Tensor:
    """The four operations in each image's order; at each position some images shift their hue."""
    matrices, pulls = _linear_parts(draws)
    turned = (draws.order == _HUE) & _turns(draws)[:, None]  # (B, 4)
    other = torch.empty_like(pixels)  # reused: allocating at each step would cost as much as the step
    for k in range(4):
        pixels, other = _linear(pixels, matrices[:, k], pulls[:, k], other), pixels
        pixels = apply_where(turned[:, k], turn_hue, pixels, draws.turn)
    return pixels


def _hue_once(pixels: Tensor, draws: ColourDraws) -> Tensor:
    """The same on an accelerator: the steps before the hue shift, the shift, the steps after it.

    Reading which images shift their hue at a step would stall it, and shifting all at each step is slow.
    """
    matrices, pulls = _linear_parts(draws)
    place = (draws.order == _HUE).long().argmax(1)  # (B,)
    identity = torch.eye(3, device=pixels.device)
    other = torch.empty_like(pixels)

    def steps(pixels: Tensor, other: Tensor, taken: Tensor, ks: range) -> tuple[Tensor, Tensor]:
        for k in ks:
            matrix = torch.where(taken[:, k, None, None], matrices[:, k], identity)
            pull = torch.where(taken[:, k], pulls[:, k], 0.0)
            pixels, other = _linear(pixels, matrix, pull, other), pixels
        return pixels, other

    step = torch.arange(4, device=pixels.device)
    pixels, other = steps(pixels, other, step < place[:, None], range(3))
    pixels = apply_where(_turns(draws), turn_hue, pixels, draws.turn)
    return steps(pixels, other, step > place[:, None], range(1, 4))[0]


def _turns(draws: ColourDraws) -> Tensor:
    """(B,) bool, whether the hue is shifted."""
    return draws.jitter & (draws.turn != 0)


def _linear(pixels: Tensor, matrix: Tensor, pull: Tensor, out: Tensor) -> Tensor:
    """`matrix @ colour + pull * mean luma`, clamped, written to `out`: (B, 3, P), (B, 3, 3), (B,)."""
    offset = (pixels.mean(dim=2) @ constant(GREY, pixels.device) * pull)[:, None, None]
    return torch.bmm(matrix, pixels, out=out).add_(offset).clamp_(0, 255)


def _linear_parts(draws: ColourDraws) -> tuple[Tensor, Tensor]:
    """Each image's steps, in its order, as `matrix @ colour + pull * mean luma`: (B, 4, 3, 3) and (B, 4).

    Hue is not linear; its matrix is the identity.
    """
    B, device = draws.factors.shape[0], draws.factors.device
    identity = torch.eye(3, device=device).expand(B, 3, 3)
    to_grey = constant(GREY, device).expand(B, 3, 3)  # every row the grey weights
    brightness, contrast, saturation = torch.where(draws.jitter[:, None], draws.factors, 1.0).unbind(1)
    parts = [
        brightness[:, None, None] * identity,
        contrast[:, None, None] * identity,
        torch.lerp(to_grey, identity, saturation[:, None, None]),
        identity,
    ]
    image = torch.arange(B, device=device)[:, None]
    pulls = torch.where(draws.order == _CONTRAST, 1 - contrast[:, None], 0.0)
    return torch.stack(parts, dim=1)[image, draws.order], pulls


def turn_hue(pixels: Tensor, turn: Tensor) -> Tensor:
    """Shift the hue in HSV; value and saturation are unchanged.

    Args:
        pixels: (B, 3, P) float, RGB.
        turn: (B,) share of the colour circle, positive from red to yellow.

    Returns:
        (B, 3, P).
    """
    red, green, blue = pixels.unbind(1)  # (B, P)
    value = torch.maximum(torch.maximum(red, green), blue)
    least = torch.minimum(torch.minimum(red, green), blue)
    chroma = value - least
    scale = chroma.clamp_min(1e-6).reciprocal_()
    # The hue in sixths of the circle. Selected by lerp with weights 0 and 1: on CPU `where` takes ten times
    # as long, by branch misprediction.
    is_greatest = torch.empty_like(value)
    hue = (red - green).mul_(scale).add_(4)
    hue.lerp_((blue - red).mul_(scale).add_(2), torch.eq(value, green, out=is_greatest))
    hue.lerp_((green - blue).mul_(scale), torch.eq(value, red, out=is_greatest))
    hue.add_(6 * turn[:, None])
    hue.sub_((hue / 6).floor_(), alpha=6)  # back to [0, 6)
    turned = torch.empty_like(pixels)
    # A channel is full for two sixths, rises and falls over one sixth on either side, and is 0 for two.
    shares = (hue - 3).abs_().sub_(1), (hue - 2).abs_().neg_().add_(2), (hue - 4).abs_().neg_().add_(2)
    for channel, share in enumerate(shares):
        torch.addcmul(least, chroma, share.clamp_(0, 1), out=turned[:, channel])
    return turned
