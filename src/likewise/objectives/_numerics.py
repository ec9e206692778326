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

# Rows shorter than this have no direction. They stay zero and get no gradient, where x / max(|x|, eps) would
# send back gradients of 1/eps.
SHORTEST = 1e-12

Precision = Literal["bfloat16"] | None

_checking = False


@contextlib.contextmanager
def checked_inputs(on: bool = True) -> Iterator[None]:
    """Inside, every objective refuses inputs that hold an inf or a NaN with a ValueError that names them.

    Off by default: looking at every input costs a pass over it and, on an accelerator, a wait for it.
    """
    global _checking
    before, _checking = _checking, on
    try:
        yield
    finally:
        _checking = before


def objective(function: Callable[P, R]) -> Callable[P, R]:
    """Mark a public objective: autocast is off inside, for it would take the products to half precision."""

    @functools.wraps(function)
    def guarded(*args: P.args, **kwargs: P.kwargs) -> R:
        given = (*args, *kwargs.values())
        device = next((value.device.type for value in given if isinstance(value, Tensor)), "cpu")
        if not torch.is_autocast_enabled(device):
            return function(*args, **kwargs)
        with torch.autocast(device, enabled=False):
            return function(*args, **kwargs)

    return guarded


def refuse_second_derivative() -> None:
    """Called first in a backward pass that has no derivative itself.

    Gradients without a graph would make a penalty on them vanish silently.
    """
    if torch.is_grad_enabled():
        raise RuntimeError(
            "this objective can't be differentiated twice at this size: call backward without create_graph "
            "(most others can, up to 1024 x 1024 similarities in float32)"
        )


def check_finite(**named: Tensor | float | None) -> None:
    """With checks on, raise for the first input that is not finite, naming it and the first bad row."""
    if not _checking:
        return
    for name, value in named.items():
        if not isinstance(value, Tensor) or not value.is_floating_point():
            continue
        bad = ~torch.isfinite(value)
        if bool(bad.any()):
            place = bad.nonzero()[0].tolist()
            raise ValueError(
                f"{name} {tuple(value.shape)} holds {int(bad.sum())} values that are not finite, "
                f"the first at {place}; look at the step before: learning rate, precision, a division by zero"
            )


def check_choice(name: str, value: str | None, choices: Sequence[str | None]) -> None:
    """A word that chooses must be one of the choices: misspelt, it would quietly choose something else."""
    if value not in choices:
        *others, last = [repr(choice) for choice in choices]
        raise ValueError(f"{name} must be {', '.join(others)} or {last}, got {value!r}")


def check_matrix(**named: Tensor) -> None:
    """Every argument must be a (rows, D) float matrix; all with one D."""
    widths = set()
    for name, value in named.items():
        if value.dim() != 2 or not value.is_floating_point():
            raise ValueError(
                f"{name} must be a float tensor (rows, D), got {tuple(value.shape)} {value.dtype}"
            )
        widths.add(value.shape[1])
    if len(widths) > 1:
        shapes = ", ".join(f"{name} {tuple(value.shape)}" for name, value in named.items())
        raise ValueError(f"features must have the same width D, got {shapes}")


def check_pairs(**named: Tensor) -> None:
    """Every argument must be a (rows, D) float matrix, all of one shape: row i belongs to row i."""
    check_matrix(**named)
    if len({value.shape for value in named.values()}) > 1:
        shapes = ", ".join(f"{name} {tuple(value.shape)}" for name, value in named.items())
        raise ValueError(f"rows come in pairs, so all must have one shape, got {shapes}")


def check_rows(count: int, **named: Tensor | None) -> None:
    """Every given argument must be a vector of this many rows."""
    for name, value in named.items():
        if value is not None and value.shape != (count,):
            raise ValueError(f"{name} must have shape ({count},), got {tuple(value.shape)}")


def check_shape(shape: tuple[int, ...], **named: Tensor) -> None:
    """Every argument must have this shape."""
    for name, value in named.items():
        if value.shape != shape:
            raise ValueError(f"{name} must have shape {shape}, got {tuple(value.shape)}")


def check_places(count: int, **named: Tensor) -> None:
    """Every index must name one of so many rows: streamed tiles would pass over one that lies in none.

    On an accelerator only with checks on, for to look there is to wait for it.
    """
    for name, index in named.items():
        if index.numel() == 0 or not (_checking or index.device.type == "cpu"):
            continue
        low, high = (int(end) for end in index.aminmax())
        if low < 0 or high >= count:
            raise ValueError(f"{name} must lie in [0, {count}), got {low} to {high}")


def check_groups(rows: int, other_rows: int, **named: Tensor | None) -> None:
    """Two arguments, the groups of the rows on both sides of a comparison: both given, or neither."""
    (own, groups), (other, other_groups) = named.items()
    if (groups is None) != (other_groups is None):
        raise ValueError(f"groups are needed on both sides or on neither: {own} and {other}")
    check_rows(rows, **{own: groups})
    check_rows(other_rows, **{other: other_groups})


def check_positive(name: str, value: float | Tensor) -> None:
    """A plain number must be above zero; a tensor is looked at only with checks on (it may live far away)."""
    if isinstance(value, Tensor):
        if value.numel() != 1:
            raise ValueError(f"{name} must be a number or a tensor of one value, got {tuple(value.shape)}")
        if not _checking:
            return
    if not float(value) > 0:
        raise ValueError(f"{name} must be above 0, got {float(value)}")


def check_margin(margin: float) -> None:
    """A margin must be a number of at least zero."""
    if not 0 <= margin < math.inf:
        raise ValueError(f"margin must be a finite number of at least 0, got {margin}")


def working(*tensors: Tensor) -> torch.dtype:
    """The dtype to compute in: float64 if any input is, else float32."""
    return torch.float64 if any(value.dtype == torch.float64 for value in tensors) else torch.float32


def exact(like: Tensor) -> torch.dtype:
    """The dtype of sums and differences, a few values a row: float64 where the device has it."""
    return torch.float32 if like.device.type == "mps" else torch.float64


def inverse_lengths(features: Tensor) -> Tensor:
    """(B, D) to (B,): 1/|row|; 0 for rows without direction, NaN for those whose length overflows."""
    lengths = torch.linalg.vector_norm(features, dim=-1, dtype=working(features))
    usable = (lengths > SHORTEST) & (lengths < torch.inf)
    # Times 0: a length that overflowed becomes NaN, not the 0 of a row that stands still and says nothing.
    return torch.where(usable, 1 / lengths.clamp_min(SHORTEST), lengths.detach() * 0)


def unit_rows(features: Tensor, normalize: bool = True) -> Tensor:
    """(..., D) in the working dtype, at unit length when asked; zero rows stay zero."""
    features = features.to(working(features))
    return features * inverse_lengths(features).unsqueeze(-1) if normalize else features


def own_places(rows: Tensor | None, own: Tensor, everyone: Tensor, *, gathered: bool) -> Tensor:
    """(b,) where this replica's rows stand among all; `rows` may be None where none were gathered."""
    if rows is not None:
        check_rows(own.shape[0], rows=rows)
        check_places(everyone.shape[0], rows=rows)
        return rows
    if gathered:
        raise ValueError("gathered rows need rows=own_rows(...): where the own ones stand among them")
    return torch.arange(own.shape[0], device=own.device)


def own_part(count: Tensor, own: Tensor, everyone: Tensor) -> Tensor:
    """What to divide a sum over this replica's terms by, where the mean is over the terms of all replicas.

    As `likewise.collectives.replica_share`, which adds up what each replica counted; here every replica
    knows the whole count.

    Args:
        count: 0-d, the terms of all replicas.
        own: (b, ...) of this replica.
        everyone: (B, ...) of all replicas.

    Returns:
        0-d: count times b / B, the count itself with one replica; 1 where there is no term.
    """
    part = count.to(exact(count)) * (own.shape[0] / max(everyone.shape[0], 1))
    return torch.where(part > 0, part, 1.0)


def row_mean(per_row: Tensor, dtype: torch.dtype) -> Tensor:
    """Mean of (b,) values; 0 for none: a replica without rows adds nothing, yet takes part in backward."""
    return (per_row.sum() / max(per_row.shape[0], 1)).to(dtype)


def scalar(value: float | Tensor, like: Tensor) -> Tensor:
    """A number, or a tensor of one value with its gradient, as a 0-d tensor of the working dtype.

    A number is filled in on the device: copying it there would wait for all that a GPU has still to do.
    """
    if isinstance(value, Tensor):
        return value.to(device=like.device, dtype=working(like)).reshape(())
    return torch.full((), value, device=like.device, dtype=working(like))


def inverse(temperature: float | Tensor, like: Tensor) -> Tensor:
    """1/temperature as a 0-d tensor of the working dtype, keeping its gradient."""
    check_positive("temperature", temperature)
    check_finite(temperature=temperature)
    if isinstance(temperature, Tensor):
        return 1 / scalar(temperature, like)
    return scalar(1 / temperature, like)
