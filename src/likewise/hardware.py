"""Properties of devices, seeds and constants on them."""

from __future__ import annotations

import functools

import torch
from torch import Tensor

from likewise.errors import ConfigError
from likewise.messages import first_line

__all__ = ["check_device", "constant", "native_bfloat16", "seed_device"]


@functools.cache
def native_bfloat16(device_type: str) -> bool:
    """Whether a kind of device multiplies bfloat16 natively, not through float32."""
    if device_type == "cuda":
        return bool(torch.cuda.is_available() and torch.cuda.is_bf16_supported(including_emulation=False))
    if device_type == "cpu":
        return bool(torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported())
    return False


def seed_device(device_type: str, seed: int) -> None:
    """Seed torch's generators (dropout) on the CPU and on the training device.

    Called at every step: `torch.manual_seed` costs a hundred times more, as it also asks every other backend.
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
    """Numbers as a tensor, created once per device: creating one waits for the GPU's queue.

    Args:
        values: a row, or rows.
        device: of the tensor.
        dtype: of the tensor.

    Returns:
        The same tensor at each call; do not write to it. The first call must not be under a FakeTensorMode,
        whose tensors cannot be used outside it.
    """
    with torch.inference_mode(False):  # an inference tensor could not be used in training
        return torch.tensor(values, dtype=dtype, device=device)


def check_device(device: str | torch.device) -> None:
    """Compute a little: a device that exists elsewhere may be missing on this machine.

    Raises:
        ConfigError: it cannot be used.
    """
    try:
        torch.device(device)
    except RuntimeError as error:  # whose message lists every kind of device
        raise ConfigError(f"device {device} cannot be used here; expected cpu, cuda, cuda:1, ...") from error
    try:
        torch.zeros(1, device=device).add(1).item()
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise ConfigError(
            f"device {device} cannot be used here ({first_line(error)}); cpu always works."
        ) from error
