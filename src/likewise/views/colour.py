"""Brightness, contrast, saturation, hue and grey as one affine map an image.

Each of the five maps a pixel's colour linearly; contrast also adds a share of the view's mean grey, and that
mean is itself linear in the mean colour of the view that came in. So any order of them is `matrix @ colour +
pull @ mean`, two 3x3 matrices that do not depend on the pixels. Against torchvision, which this follows, two
things differ: values are clamped once at the end instead of after each operation, and hue is turned about the
grey axis in YIQ (a linear map that keeps luma) instead of in HSV.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

__all__ = ["GREY", "colour_maps", "hue_matrices"]

GREY = (0.299, 0.587, 0.114)  # ITU-R BT.601, as Pillow and torchvision

_TO_YIQ = (GREY, (0.5959, -0.2746, -0.3213), (0.2115, -0.5227, 0.3112))
_CONTRAST = 1  # its place among brightness, contrast, saturation, hue


def hue_matrices(turn: Tensor) -> Tensor:
    """(B, 3, 3) matrices that turn hue by `turn` (B,) of the colour circle, about the grey axis."""
    to_yiq = torch.tensor(_TO_YIQ, dtype=torch.float64)
    # Rounded published coefficients: make the chroma of grey exactly zero, or turning it would tint it.
    to_yiq[1:] -= to_yiq[1:].mean(dim=1, keepdim=True)
    to_yiq[0] /= to_yiq[0].sum()
    back = torch.linalg.inv(to_yiq)
    # R(t) = keep + cos(t) even + sin(t) odd, so that the batch needs no product of matrices.
    keep = back[:, :1] @ to_yiq[:1]
    even = back[:, 1:] @ to_yiq[1:]
    odd = back[:, 2:3] @ to_yiq[1:2] - back[:, 1:2] @ to_yiq[2:3]
    keep, even, odd = (part.to(turn.device, torch.float32) for part in (keep, even, odd))
    angle = (-2 * math.pi * turn)[:, None, None]  # hues run the other way round in YIQ than in HSV
    turned: Tensor = keep + torch.cos(angle) * even + torch.sin(angle) * odd
    return turned


def colour_maps(
    *, factors: Tensor, turn: Tensor, order: Tensor, jitter: Tensor, grey: Tensor
) -> tuple[Tensor, Tensor]:
    """Composes each image's colour operations.

    Args:
        factors: (B, 3) of brightness, contrast, saturation; 1 changes nothing.
        turn: (B,) of hue, in shares of the circle; 0 changes nothing.
        order: (B, 4) int64, a permutation of 0 brightness, 1 contrast, 2 saturation, 3 hue.
        jitter: (B,) bool, False leaves these four out.
        grey: (B,) bool, True turns the image grey at last.

    Returns:
        `matrix` and `pull`, both (B, 3, 3): a colour becomes `matrix @ colour + pull @ mean colour of the
        view`.
    """
    B, device = len(turn), turn.device
    identity = torch.eye(3, device=device).expand(B, 3, 3)
    to_grey = torch.tensor(GREY, device=device).expand(B, 3, 3)  # every row the grey weights
    factor = factors[:, :, None, None]  # (B, 3, 1, 1)
    steps = torch.stack(
        [
            factor[:, 0] * identity,
            factor[:, 1] * identity,
            factor[:, 2] * identity + (1 - factor[:, 2]) * to_grey,
            hue_matrices(turn),
        ],
        dim=1,
    )  # (B, 4, 3, 3)
    image = torch.arange(B, device=device)
    matrix, pull = identity, torch.zeros((B, 3, 3), device=device)
    for k in range(4):
        step = steps[image, order[:, k]]  # (B, 3, 3)
        share = torch.where(order[:, k] == _CONTRAST, 1 - factors[:, 1], 0.0)[:, None, None]
        # The mean colour so far is (matrix + pull) @ mean; contrast draws every colour to the grey of that.
        pull = torch.bmm(step, pull) + share * torch.bmm(to_grey, matrix + pull)
        matrix = torch.bmm(step, matrix)
    matrix = torch.where(jitter[:, None, None], matrix, identity)
    pull = torch.where(jitter[:, None, None], pull, 0.0)
    matrix = torch.where(grey[:, None, None], torch.bmm(to_grey, matrix), matrix)
    pull = torch.where(grey[:, None, None], torch.bmm(to_grey, pull), pull)
    return matrix, pull
