"""What the hardware does well."""

from __future__ import annotations

import functools

import torch

__all__ = ["native_bfloat16"]


@functools.cache
def native_bfloat16(device_type: str) -> bool:
    """Whether a kind of device multiplies bfloat16 itself, rather than by way of float32."""
    if device_type == "cuda":
        return bool(torch.cuda.is_available() and torch.cuda.is_bf16_supported(including_emulation=False))
    if device_type == "cpu":
        return bool(torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported())
    return False
