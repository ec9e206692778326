"""Tensors that are recomputed in the backward pass instead of being kept."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NamedTuple

import torch
from torch import Tensor

__all__ = ["RecomputedTensors"]


class RecomputedTensors:
    """Tensors that are copies of smaller ones, or of ones that are kept anyway.

    Padded texts and indexed rows are such. An operation inside `saving_sources` keeps their sources instead:

        recomputed = RecomputedTensors()
        padded = recomputed(packing.unpack, rows)
        with recomputed.saving_sources():
            output = attention(padded, padded, padded)
    """

    def __init__(self) -> None:
        # By address; the results are held, lest another tensor gets their address meanwhile.
        self._known: dict[int, tuple[Tensor, Callable[[Tensor], Tensor], Tensor]] = {}

    def __call__(self, function: Callable[[Tensor], Tensor], source: Tensor) -> Tensor:
        """`function(source)`; the function must be deterministic."""
        result = function(source)
        self._known[result.untyped_storage().data_ptr()] = result, function, source.detach()
        return result

    @contextmanager
    def saving_sources(self) -> Iterator[None]:
        """Inside, autograd keeps the sources of the results; afterwards they are forgotten."""
        try:
            with torch.autograd.graph.saved_tensors_hooks(self._pack, _unpack):
                yield
        finally:
            self._known.clear()  # the graph holds the hooks, and through them this object

    def _pack(self, saved: Tensor) -> Tensor | _Recipe:
        known = self._known.get(saved.untyped_storage().data_ptr())
        if known is None:
            return saved.detach()  # with its graph it would be a reference to itself
        _, function, source = known
        return _Recipe(function, source, saved.size(), saved.stride(), saved.storage_offset())


class _Recipe(NamedTuple):
    """How to compute a tensor, or a view of it."""

    function: Callable[[Tensor], Tensor]
    source: Tensor
    size: torch.Size
    stride: tuple[int, ...]
    offset: int | torch.SymInt


def _unpack(packed: Tensor | _Recipe) -> Tensor:
    if isinstance(packed, Tensor):
        return packed
    return packed.function(packed.source).as_strided(packed.size, packed.stride, packed.offset)
