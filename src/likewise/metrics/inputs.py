"""Checks of the arrays that metrics take; errors name the argument."""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
import torch

__all__ = ["Array", "TILE_ENTRIES", "as_matrix", "as_labels", "as_unit_rows", "as_unit_pair", "rows_per_tile"]

Array: TypeAlias = "torch.Tensor | np.ndarray[Any, Any]"

TILE_ENTRIES = 1 << 22
"""Most similarities in memory at once: 16 MiB in float32."""


def as_matrix(values: Array, name: str) -> torch.Tensor:
    """Checked embeddings.

    Args:
        values: (N, D) of any float dtype, torch or numpy.
        name: its name in errors.

    Returns:
        (N, D) float32, or float64 for float64, detached, on its device.

    Raises:
        ValueError: not two dimensions, empty, not floating point, or a value that is not finite.
    """
    tensor = torch.as_tensor(values).detach()
    if tensor.ndim != 2 or tensor.shape[0] == 0 or tensor.shape[1] == 0:
        raise ValueError(f"{name}: expected a non-empty (N, D) matrix, got shape {tuple(tensor.shape)}")
    if not tensor.is_floating_point():
        raise ValueError(f"{name}: expected floating point values, got {tensor.dtype}")
    if tensor.dtype != torch.float64:
        tensor = tensor.float()
    finite = tensor.isfinite().all(dim=1)
    if not bool(finite.all()):
        bad = int((~finite).sum())
        first = int((~finite).nonzero()[0])
        raise ValueError(
            f"{name}: {bad} of {len(tensor)} rows hold NaN or infinity, the first is row {first}"
        )
    return tensor


def as_unit_rows(values: Array, name: str) -> torch.Tensor:
    """Checked embeddings (N, D), each row scaled to length one; a row of zeros stays zeros.

    Raises:
        ValueError: as `as_matrix`, or values so large that a row's length overflows.
    """
    rows = as_matrix(values, name)
    lengths: torch.Tensor = torch.linalg.vector_norm(rows, dim=1, keepdim=True)
    if bool(lengths.isinf().any()):
        first = int(lengths.isinf().flatten().nonzero()[0])
        raise ValueError(f"{name}: the length of row {first} overflows {rows.dtype}; scale the values down")
    return rows / lengths.clamp_min(1e-12)


def as_unit_pair(first: Array, second: Array, names: tuple[str, str]) -> tuple[torch.Tensor, torch.Tensor]:
    """Two sets of unit rows, (N, D) and (M, D), in the wider of their dtypes, on the device of the first."""
    a, b = as_unit_rows(first, names[0]), as_unit_rows(second, names[1])
    if a.shape[1] != b.shape[1]:
        raise ValueError(f"{names[0]} has {a.shape[1]} dimensions, {names[1]} has {b.shape[1]}")
    dtype = torch.promote_types(a.dtype, b.dtype)
    return a.to(dtype), b.to(device=a.device, dtype=dtype)


def as_labels(values: Array | list[int], name: str, *, count: int, device: torch.device) -> torch.Tensor:
    """Checked class, group or domain numbers.

    Args:
        values: (N,) integers.
        name: its name in errors.
        count: the N expected.
        device: of the result.

    Returns:
        (N,) int64.

    Raises:
        ValueError: another shape, or not integers.
    """
    tensor = torch.as_tensor(values)
    if tensor.shape != (count,):
        raise ValueError(f"{name}: expected shape ({count},), got {tuple(tensor.shape)}")
    if tensor.is_floating_point() or tensor.is_complex() or tensor.dtype == torch.bool:
        raise ValueError(f"{name}: expected integers, got {tensor.dtype}")
    return tensor.to(device=device, dtype=torch.int64)


def rows_per_tile(num_columns: int) -> int:
    """How many rows of `num_columns` similarities fit in `TILE_ENTRIES`; at least one."""
    return max(1, TILE_ENTRIES // max(1, num_columns))
