"""What a computation keeps for its backward pass."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor


def kept_bytes(compute: Callable[[], object], *known: Tensor) -> int:
    """Bytes that are kept beside tensors that are there anyway, such as inputs and weights."""
    there = {tensor.untyped_storage().data_ptr() for tensor in known}
    kept: dict[int, int] = {}

    def pack(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in there:
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor.detach()

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        made = compute()  # noqa: F841 - what is kept lives as long as this
        return sum(kept.values())
