"""What every objective does to its inputs first: dtype, unit length, checks."""

from __future__ import annotations

import contextlib
import functools
import math
from collections.abc import Callable, Iterator, Sequence
from typing import Literal, ParamSpec, TypeVar

import torch
from torch import Tensor

P = ParamSpec("P")
R = TypeVar("R")

# Shorter rows have no direction: they stay zero and get no gradient. x / max(|x|, eps) would give gradients
# of 1/eps.
MIN_LENGTH = 1e-12

Precision = Literal["bfloat16"] | None

_checking = False


@contextlib.contextmanager
def checked_inputs(on: bool = True) -> Iterator[None]:
    """Inside, every objective raises ValueError for inputs that contain an inf or a NaN.

    Off by default: the check reads every input once and, on an accelerator, waits for the result.
    """
    global _checking
    before, _checking = _checking, on
    try:
        yield
    finally:
        _checking = before


def objective(function: Callable[P, R]) -> Callable[P, R]:
    """Mark a public objective: autocast is off inside, since it would use half precision for the products."""

    @functools.wraps(function)
    def guarded(*args: P.args, **kwargs: P.kwargs) -> R:
        values = (*args, *kwargs.values())
        device = next((value.device.type for value in values if isinstance(value, Tensor)), "cpu")
        if not torch.is_autocast_enabled(device):
            return function(*args, **kwargs)
        with torch.autocast(device, enabled=False):
            return function(*args, **kwargs)

    return guarded


def forbid_double_backward() -> None:
    """Called first in a backward pass that has no derivative itself.

    Without it a gradient penalty would vanish silently.
    """
    if torch.is_grad_enabled():
        raise RuntimeError(
            "this objective can't be differentiated twice at this size: call backward without create_graph "
            "(most others can, up to 1024 x 1024 similarities in float32)"
        )


def check_finite(**named: Tensor | float | None) -> None:
    """With checks on, raise for the first input that is not finite, with its name and the first bad entry."""
    if not _checking:
        return
    for name, value in named.items():
        if not isinstance(value, Tensor) or not value.is_floating_point():
            continue
        bad = ~torch.isfinite(value)
        if bool(bad.any()):
            raise ValueError(
                f"{name} {tuple(value.shape)} has {int(bad.sum())} values that are not finite, the first at "
                f"{bad.nonzero()[0].tolist()}; check the step before: learning rate, precision, a division "
                "by zero"
            )


def check_choice(name: str, value: str | None, choices: Sequence[str | None]) -> None:
    """Raise unless the value is one of the choices."""
    if value not in choices:
        *others, last = [repr(choice) for choice in choices]
        raise ValueError(f"{name} must be {', '.join(others)} or {last}, got {value!r}")


def check_matrix(**named: Tensor) -> None:
    """Every argument must be a (rows, D) float matrix, all with the same D."""
    for name, value in named.items():
        if value.dim() != 2 or not value.is_floating_point():
            raise ValueError(
                f"{name} must be a float tensor (rows, D), got {tuple(value.shape)} {value.dtype}"
            )
    if len({value.shape[1] for value in named.values()}) > 1:
        raise ValueError(f"features must have the same width D, got {_shapes(named)}")


def check_pairs(**named: Tensor) -> None:
    """Every argument must be a (rows, D) float matrix, all of one shape: row i belongs to row i."""
    check_matrix(**named)
    if len({value.shape for value in named.values()}) > 1:
        raise ValueError(f"rows come in pairs, so all must have one shape, got {_shapes(named)}")


def _shapes(named: dict[str, Tensor]) -> str:
    return ", ".join(f"{name} {tuple(value.shape)}" for name, value in named.items())


def check_shape(shape: tuple[int, ...], **named: Tensor | None) -> None:
    """Every argument that is not None must have this shape."""
    for name, value in named.items():
        if value is not None and value.shape != shape:
            raise ValueError(f"{name} must have shape {shape}, got {tuple(value.shape)}")


def check_indices(count: int, **named: Tensor) -> None:
    """Every index must lie in [0, count): streamed tiles would skip the others silently.

    On an accelerator only with checks on, since reading the indices waits for it.
    """
    for name, index in named.items():
        if index.numel() == 0 or not (_checking or index.device.type == "cpu"):
            continue
        low, high = (int(end) for end in index.aminmax())
        if low < 0 or high >= count:
            raise ValueError(f"{name} must lie in [0, {count}), got {low} to {high}")


def check_groups(rows: int, other_rows: int, **named: Tensor | None) -> None:
    """Two arguments, the groups on both sides of a comparison: both given, or neither."""
    (own, groups), (other, other_groups) = named.items()
    if (groups is None) != (other_groups is None):
        raise ValueError(f"groups are needed on both sides or on neither: {own} and {other}")
    check_shape((rows,), **{own: groups})
    check_shape((other_rows,), **{other: other_groups})


def check_positive(name: str, value: float | Tensor) -> None:
    """A number must be above zero; a tensor is read only with checks on (it may be on an accelerator)."""
    if isinstance(value, Tensor) and value.numel() != 1:
        raise ValueError(f"{name} must be a number or a tensor of one value, got {tuple(value.shape)}")
    if (_checking or not isinstance(value, Tensor)) and not float(value) > 0:
        raise ValueError(f"{name} must be above 0, got {float(value)}")


def check_margin(margin: float) -> None:
    """A margin must be finite and at least zero."""
    if not 0 <= margin < math.inf:
        raise ValueError(f"margin must be a finite number of at least 0, got {margin}")


def compute_dtype(*tensors: Tensor) -> torch.dtype:
    """float64 if any input is, else float32."""
    return torch.float64 if any(value.dtype == torch.float64 for value in tensors) else torch.float32


def sum_dtype(like: Tensor) -> torch.dtype:
    """The dtype of sums and differences, a few values a row: float64 where the device has it."""
    return torch.float32 if like.device.type == "mps" else torch.float64


def inverse_lengths(features: Tensor) -> Tensor:
    """(B, D) to (B,): 1/|row|; 0 for rows without direction, NaN for rows whose length overflows."""
    lengths = torch.linalg.vector_norm(features, dim=-1, dtype=compute_dtype(features))
    usable = (lengths > MIN_LENGTH) & (lengths < torch.inf)
    # Times 0: inf becomes NaN, so that an overflow is not mistaken for a zero row.
    return torch.where(usable, 1 / lengths.clamp_min(MIN_LENGTH), lengths.detach() * 0)


def unit_rows(features: Tensor, normalize: bool = True) -> Tensor:
    """(..., D) in the compute dtype, at unit length if `normalize`; zero rows stay zero."""
    features = features.to(compute_dtype(features))
    return features * inverse_lengths(features).unsqueeze(-1) if normalize else features


def own_indices(
    rows: Tensor | None, own: Tensor, everyone: Tensor, *, gathered: bool | None = None
) -> Tensor:
    """(b,) indices of this process's rows among all; `rows` may be None unless rows were gathered."""
    if rows is not None:
        check_shape(own.shape[:1], rows=rows)
        check_indices(everyone.shape[0], rows=rows)
        return rows
    if everyone is not own if gathered is None else gathered:
        raise ValueError("gathered rows need rows=own_rows(...), the indices of the own rows among them")
    return torch.arange(own.shape[0], device=own.device)


def own_divisor(count: Tensor, own: Tensor, everyone: Tensor) -> Tensor:
    """Divisor of a sum over this process's terms, for a mean over the terms of all processes.

    As `likewise.collectives.replica_share`, but here every process knows the total.

    Args:
        count: 0-d, the terms of all processes.
        own: (b, ...) of this process.
        everyone: (B, ...) of all processes.

    Returns:
        0-d: count * b / B; 1 where there is no term.
    """
    part = count.to(sum_dtype(count)) * (own.shape[0] / max(everyone.shape[0], 1))
    return torch.where(part > 0, part, 1.0)


def row_mean(per_row: Tensor, dtype: torch.dtype) -> Tensor:
    """Mean of (b,) values; 0 for none, with a graph: a process without rows still takes part in backward."""
    return (per_row.sum() / max(per_row.shape[0], 1)).to(dtype)


def scalar(value: float | Tensor, like: Tensor) -> Tensor:
    """A number, or a tensor of one value with its gradient, as a 0-d tensor of the compute dtype.

    A number is filled in on the device: copying it there would wait for a GPU's queue.
    """
    if isinstance(value, Tensor):
        return value.to(device=like.device, dtype=compute_dtype(like)).reshape(())
    return torch.full((), value, device=like.device, dtype=compute_dtype(like))


def inverse(temperature: float | Tensor, like: Tensor) -> Tensor:
    """1/temperature as a 0-d tensor of the compute dtype, with its gradient."""
    check_positive("temperature", temperature)
    check_finite(temperature=temperature)
    if isinstance(temperature, Tensor):
        return 1 / scalar(temperature, like)
    return scalar(1 / temperature, like)
