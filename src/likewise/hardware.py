"""What depends on the device that computes."""

from __future__ import annotations

import functools

import torch
from torch import Tensor

__all__ = ["constant", "native_bfloat16", "seed_device"]


@functools.cache
def native_bfloat16(device_type: str) -> bool:
    """Whether a kind of device multiplies bfloat16 itself, rather than by way of float32."""
    if device_type == "cuda":
        return bool(torch.cuda.is_available() and torch.cuda.is_bf16_supported(including_emulation=False))
    if device_type == "cpu":
        return bool(torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported())
    return False


def seed_device(device_type: str, seed: int) -> None:
    """Seed torch's own draws (dropout) on the processor and on the device that trains.

    At every step: `torch.manual_seed` also asks every other kind of device there could be, at a hundred
    times the cost.
    """
    torch.default_generator.manual_seed(seed)
    if device_type == "cuda":
        torch.cuda.manual_seed(seed)
    elif device_type != "cpu":
        torch.manual_seed(seed)


@functools.lru_cache(maxsize=256)
def constant(
    values: tuple[float, ...] | tuple[tuple[float, ...], ...],
    device: torch.device,
    dtype: torch.dtype = torch.float32,
) -> Tensor:
    """Python's numbers as a tensor, made once for each device: each making would wait for all that a GPU has
    still to do.

    Args:
        values: a row, or rows.
        device: where the tensor lives.
        dtype: of the tensor.

    Returns:
        The same tensor at each call, not to be written to (nor first asked for under a FakeTensorMode, whose
        tensors are good for nothing outside it).
    """
    with torch.inference_mode(False):  # else it could not be used in training later
        return torch.tensor(values, dtype=dtype, device=device)
