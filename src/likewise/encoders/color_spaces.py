"""Color channels of an image: CIE L*a*b* (lightness and color) and RGB.

Dimensions: B batch, S side in pixels.
"""

from __future__ import annotations

import torch
from torch import Tensor

from likewise.hardware import constant

__all__ = ["CHANNELS", "color_channels"]

CHANNELS = ("L", "a", "b", "R", "G", "B")

# sRGB (IEC 61966-2-1) to CIE XYZ, rows divided by the D65 white point so that white is (1, 1, 1).
_XYZ = ((0.412453, 0.357580, 0.180423), (0.212671, 0.715160, 0.072169), (0.019334, 0.119193, 0.950227))
_WHITE = (0.95047, 1.0, 1.08883)
# Middle and half range of L, a and b over all sRGB colors: scales each to about [-1, 1].
_MIDDLE = (50.0, 6.025, -6.6895)
_HALF_RANGE = (50.0, 92.208, 101.1675)


def color_channels(rgb: Tensor) -> Tensor:
    """L, a, b, R, G and B of each pixel, each in about [-1, 1].

    Args:
        rgb: (B, 3, S, S) sRGB in [0, 1]; values outside are clamped.

    Returns:
        (B, 6, S, S) float32, in the order of `CHANNELS`.

    Reference:
        CIE 1976 L*a*b*, white D65; as views of an image: Tian et al. 2019, arXiv 1906.05849, section 4.1.
    """
    with torch.autocast(rgb.device.type, enabled=False):
        rgb = rgb.float().clamp(0, 1)
        linear = torch.where(rgb > 0.04045, ((rgb + 0.055) / 1.055).clamp_min(1e-6) ** 2.4, rgb / 12.92)
        to_xyz = constant(_XYZ, rgb.device) / constant(_WHITE, rgb.device)[:, None]
        xyz = torch.einsum("xc,bchw->bxhw", to_xyz, linear)
        curved = torch.where(xyz > 0.008856, xyz.clamp_min(1e-6) ** (1 / 3), 7.787 * xyz + 16 / 116)
        x, y, z = curved.unbind(1)
        lab = torch.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], dim=1)
        middle = constant(_MIDDLE, rgb.device).view(3, 1, 1)
        half_range = constant(_HALF_RANGE, rgb.device).view(3, 1, 1)
        return torch.cat([(lab - middle) / half_range, 2 * rgb - 1], dim=1)
