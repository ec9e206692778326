"""The weights that a phase of a training step moves."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from torch import nn

__all__ = ["only_trains"]


@contextmanager
def only_trains(method: nn.Module, parts: tuple[str, ...] | None) -> Iterator[None]:
    """Inside, only the weights of these submodules require a gradient; the optimizer skips the others.

    Args:
        method: all of them.
        parts: names of submodules; None for all.
    """
    frozen = (
        []
        if parts is None
        else [
            weight
            for name, weight in method.named_parameters()
            if weight.requires_grad and not any(f"{name}.".startswith(f"{part}.") for part in parts)
        ]
    )
    for weight in frozen:
        weight.requires_grad_(False)
    try:
        yield
    finally:
        for weight in frozen:
            weight.requires_grad_(True)
