"""The only door to the other replicas that a method may use.

Without `torch.distributed`, or with one replica, everything here is the identity, so a method is written
once.

**How many rows.** A training step runs inside `even_rows`: what it gathers has as many rows on every replica.
Things that a replica counts itself, such as hidden words, are not gathered but weighed by `replica_share`.

**How losses are scaled.** An objective on replica r returns the mean over its own b_r rows, each compared
with the gathered rows of all replicas. DDP then averages gradients over the R replicas. `gather_rows` sums
gradients on its way back, so that DDP's mean is the gradient of mean_r(loss_r), through queries, keys and
temperature alike. With equal b_r that mean is the single-process loss. With unequal ones, multiply each
replica's loss by `replica_weight` = b_r R / (b_1 + ... + b_R), which is 1 when they are equal; then it is
exact always. Means over something else than rows (masked tokens) divide their own sum by `replica_share` of
the count, for the same reason.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from typing import Any

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor

__all__ = [
    "average_over_replicas",
    "even_rows",
    "gather_rows",
    "own_rows",
    "rank",
    "replica_share",
    "replica_weight",
    "row_counts",
    "world_size",
]


def world_size() -> int:
    """Number of replicas R; 1 without `torch.distributed`."""
    return dist.get_world_size() if _connected() else 1


def rank() -> int:
    """This replica's place in 0 ... R-1; 0 without `torch.distributed`."""
    return dist.get_rank() if _connected() else 0


_even = False


@contextlib.contextmanager
def even_rows() -> Iterator[None]:
    """Inside, all replicas bring equally many rows to every call here, so none is asked how many.

    Asking takes a message, and the processor waits for a GPU until the answers are there. Batches of training
    are shared evenly.
    """
    global _even
    before, _even = _even, True
    try:
        yield
    finally:
        _even = before


def row_counts(rows: Tensor) -> list[int]:
    """How many rows each replica holds; all as many as this one inside `even_rows`.

    Args:
        rows: (b, ...) this replica's rows, on the device the replicas talk through.

    Returns:
        R counts, in the order of the ranks.
    """
    return [rows.shape[0]] * world_size() if _even or world_size() == 1 else _sizes(rows, 0)


def _sizes(rows: Tensor, dim: int) -> list[int]:
    """How long one dimension is on each replica."""
    own = torch.full((1,), rows.shape[dim], dtype=torch.int64, device=rows.device)
    sizes = [torch.empty_like(own) for _ in range(world_size())]
    dist.all_gather(sizes, own)
    return [int(size) for size in torch.cat(sizes).tolist()]


def gather_rows(rows: Tensor, *, lengths_vary: bool = False) -> Tensor:
    """The rows of all replicas, with their gradient.

    Each replica may bring another number of rows, or none; inside `even_rows`, where training steps run, all
    bring as many. On the way back the gradients that all replicas hold for a row are summed and sent to its
    owner (see the module's text for the scaling this makes right). With one replica the tensor itself comes
    back.

    Args:
        rows: (b, ...) this replica's rows, any dtype; trailing shape and dtype equal everywhere.
        lengths_vary: dimension 1 (tokens) may differ between replicas; shorter ones are filled with zeros.

    Returns:
        (b_1 + ... + b_R, ...) in the order of the ranks.
    """
    if world_size() == 1:
        return rows
    counts = row_counts(rows)
    if lengths_vary:
        missing = max(_sizes(rows, 1)) - rows.shape[1]
        rows = F.pad(rows, [0, 0] * (rows.dim() - 2) + [0, missing])
    gathered: Tensor = _GatherRows.apply(rows, counts)  # type: ignore[no-untyped-call]
    return gathered


def own_rows(rows: Tensor) -> Tensor:
    """(b,) int64: where this replica's rows stand among `gather_rows(rows)`."""
    start = sum(row_counts(rows)[: rank()]) if world_size() > 1 else 0
    return torch.arange(start, start + rows.shape[0], device=rows.device)


@torch.no_grad()
def average_over_replicas(tensors: Sequence[Tensor]) -> None:
    """Give tensors their mean over all replicas, in place and in one message.

    Args:
        tensors: of equal shapes and one dtype everywhere.
    """
    if world_size() == 1 or not tensors:
        return
    together = torch.cat([one.flatten() for one in tensors])
    dist.all_reduce(together)
    together /= world_size()
    lengths = [one.numel() for one in tensors]
    for one, averaged in zip(tensors, torch.split(together, lengths), strict=True):
        one.copy_(averaged.view_as(one))


def replica_weight(rows: Tensor) -> float:
    """Weight b R / (sum of b): multiplying this replica's loss with it makes DDP's mean exact for unequal
    rows."""
    counts = row_counts(rows)
    return len(counts) * rows.shape[0] / max(sum(counts), 1)


def replica_share(count: Tensor, rows: Tensor) -> Tensor:
    """What to divide a sum over this replica's own items by, where the mean is over items and not rows.

    Args:
        count: 0-d, this replica's items (masked tokens, say).
        rows: (b, ...) this replica's rows, as given to `replica_weight`.

    Returns:
        0-d float: all replicas' items times b / (b_1 + ... + b_R), the own count with one replica; as if
        there were one item where there is none.
    """
    counts = row_counts(rows)
    total = count.detach().clone().double() if count.device.type != "mps" else count.detach().float()
    if len(counts) > 1:
        dist.all_reduce(total)
    share = rows.shape[0] / sum(counts) if rows.shape[0] else 1.0
    return total.clamp_min(1) * share


def _connected() -> bool:
    return dist.is_available() and dist.is_initialized()


class _GatherRows(torch.autograd.Function):
    """All-gather of rows, padded where counts differ; its transpose, a sum over replicas, on the way back."""

    @staticmethod
    def forward(ctx: Any, rows: Tensor, counts: list[int]) -> Tensor:
        ctx.counts = counts
        # Collectives want equal shapes: where counts differ, pad to the longest, cut after.
        missing = max(counts) - rows.shape[0]
        sent = rows.detach().contiguous()
        if missing:
            sent = F.pad(sent, [0, 0] * (rows.dim() - 1) + [0, missing])
        pieces = [torch.empty_like(sent) for _ in counts]
        dist.all_gather(pieces, sent)
        return torch.cat([piece[:count] for piece, count in zip(pieces, counts, strict=True)])

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        # all_reduce and a cut rather than reduce_scatter: it takes unequal pieces and every backend has it.
        # The clone is needed: autograd may hand the same tensor to another consumer.
        total = gradients[0].clone(memory_format=torch.contiguous_format)
        dist.all_reduce(total)
        start = sum(ctx.counts[: dist.get_rank()])
        return total[start : start + ctx.counts[dist.get_rank()]].clone(), None
