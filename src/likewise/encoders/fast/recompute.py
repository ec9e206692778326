"""Tensors that the backward pass makes again instead of keeping."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NamedTuple

import torch
from torch import Tensor

__all__ = ["RecomputedTensors"]


class RecomputedTensors:
    """Tensors that follow from smaller ones, or from ones that are kept anyway, by copying alone.

    Texts padded again and rows that an index chose are such. An operation that needs them for its backward
    pass keeps what they were made of:

        made_again = RecomputedTensors()
        padded = made_again(packing.unpack, rows)
        with made_again.kept():
            found = attention(padded, padded, padded)
    """

    def __init__(self) -> None:
        # By address; what was made is held, lest another tensor should get that address meanwhile.
        self._known: dict[int, tuple[Tensor, Callable[[Tensor], Tensor], Tensor]] = {}

    def __call__(self, make: Callable[[Tensor], Tensor], source: Tensor) -> Tensor:
        """`make(source)`, which must give the same whenever it is called."""
        made = make(source)
        self._known[made.untyped_storage().data_ptr()] = made, make, source.detach()
        return made

    @contextmanager
    def kept(self) -> Iterator[None]:
        """Within, what is kept of the made tensors is their sources; afterwards they are forgotten."""
        try:
            with torch.autograd.graph.saved_tensors_hooks(self._pack, _unpack):
                yield
        finally:
            self._known.clear()  # the graph holds the hooks, and by them this object

    def _pack(self, needed: Tensor) -> Tensor | _Making:
        known = self._known.get(needed.untyped_storage().data_ptr())
        if known is None:
            return needed.detach()  # with its graph it would be a reference to itself
        _, make, source = known
        return _Making(make, source, needed.size(), needed.stride(), needed.storage_offset())


class _Making(NamedTuple):
    """A tensor, or a view of it, before it is made."""

    make: Callable[[Tensor], Tensor]
    source: Tensor
    size: torch.Size
    stride: tuple[int, ...]
    offset: int | torch.SymInt


def _unpack(packed: Tensor | _Making) -> Tensor:
    if isinstance(packed, Tensor):
        return packed
    return packed.make(packed.source).as_strided(packed.size, packed.stride, packed.offset)
