"""What the backward pass makes again: the same gradients, and nothing kept but the sources."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.multiprocessing.reductions import StorageWeakRef

from likewise.encoders.fast.recompute import RecomputedTensors
from likewise.encoders.fast.unpadded_bert import Packing

MASK = torch.arange(6) < torch.tensor([6, 1, 3])[:, None]


def padded_products(rows: Tensor, *, recomputed: RecomputedTensors | None) -> tuple[Tensor, StorageWeakRef]:
    """Each text's words with each other's, from (10, 4) packed rows; and the padded rows' memory."""
    packing = Packing(MASK)
    if recomputed is None:
        padded = packing.unpack(rows)
        return padded @ padded.transpose(1, 2), StorageWeakRef(padded.untyped_storage())
    padded = recomputed(packing.unpack, rows)
    with recomputed.saving_sources():
        found = padded @ padded.transpose(1, 2)
    return found, StorageWeakRef(padded.untyped_storage())


def test_gradients_are_those_of_what_was_kept() -> None:
    rows = torch.randn(10, 4, dtype=torch.float64, requires_grad=True)
    weight = torch.randn(3, 6, 6, dtype=torch.float64)
    found = [padded_products(rows, recomputed=recomputed)[0] for recomputed in (None, RecomputedTensors())]
    plain, again = (torch.autograd.grad((products * weight).sum(), rows)[0] for products in found)
    assert torch.equal(plain, again)


def test_what_is_recomputed_does_not_live_until_then() -> None:
    rows = torch.randn(10, 4, requires_grad=True)
    plain, memory = padded_products(rows, recomputed=None)
    assert not memory.expired()
    again, memory = padded_products(rows, recomputed=RecomputedTensors())
    assert memory.expired()
    assert torch.equal(plain, again)


def test_other_tensors_are_kept_even_where_a_made_one_stood_before() -> None:
    """The address of a freed tensor is soon another's."""
    rows = torch.randn(64, 64, requires_grad=True)
    recomputed, found = RecomputedTensors(), []
    made = recomputed(lambda given: given[torch.arange(63, -1, -1)], rows)
    with recomputed.saving_sources():
        found.append(made.exp())
        del made
        for _ in range(8):
            other = rows * 1.0
            found.append(other.square())
    torch.stack([part.sum() for part in found]).sum().backward()
    expected = rows.detach().exp() + 8 * 2 * rows.detach()
    torch.testing.assert_close(rows.grad, expected)
