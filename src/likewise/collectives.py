"""Communication between processes: the only way for a method to reach the others.

Without `torch.distributed`, or with one process, everything here is the identity.

**Number of rows.** A training step runs inside `even_rows`: what it gathers has equally many rows on every
process. Items that a process counts itself, such as masked tokens, are weighted by `replica_share`.

**Scale of losses.** An objective on rank r returns the mean over its own b_r rows, each compared with the
gathered rows of all processes. DDP then averages gradients over the R processes. The backward pass of
`gather_rows` sums gradients, so DDP's mean is the gradient of mean_r(loss_r), through queries, keys and
temperature alike. With equal b_r that mean is the single-process loss. With unequal ones, multiply each loss
by `replica_weight` = b_r R / (b_1 + ... + b_R) to make it exact. For the same reason, means over other items
than rows (masked tokens) divide their sum by `replica_share` of the count.
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
    """Number of processes R; 1 without `torch.distributed`."""
    return dist.get_world_size() if _connected() else 1


def rank() -> int:
    """This process's number in 0 ... R-1; 0 without `torch.distributed`."""
    return dist.get_rank() if _connected() else 0


_even = False


@contextlib.contextmanager
def even_rows() -> Iterator[None]:
    """Inside, every process has equally many rows in each call here, so the counts are not exchanged.

    An exchange takes a message and waits for the GPU. Training batches are divided evenly.
    """
    global _even
    before, _even = _even, True
    try:
        yield
    finally:
        _even = before


def row_counts(rows: Tensor) -> list[int]:
    """Number of rows on each process; inside `even_rows` all have as many as this one.

    Args:
        rows: (b, ...) this process's rows, on the device of the process group.

    Returns:
        R counts, by rank.
    """
    return [rows.shape[0]] * world_size() if _even or world_size() == 1 else _sizes(rows, 0)


def _sizes(rows: Tensor, dim: int) -> list[int]:
    """Size of one dimension on each process."""
    own = torch.full((1,), rows.shape[dim], dtype=torch.int64, device=rows.device)
    sizes = [torch.empty_like(own) for _ in range(world_size())]
    dist.all_gather(sizes, own)
    return [int(size) for size in torch.cat(sizes).tolist()]


def gather_rows(rows: Tensor, *, lengths_vary: bool = False) -> Tensor:
    """The rows of all processes, with gradient.

    Processes may have different numbers of rows, or none, except inside `even_rows`. The backward pass sums
    the gradients that all processes have for a row and gives them to its owner (see the module's docstring
    for the scale). With one process the tensor itself is returned.

    Args:
        rows: (b, ...) this process's rows, any dtype; trailing shape and dtype equal everywhere.
        lengths_vary: dimension 1 (tokens) may differ between processes; shorter ones are padded with zeros.

    Returns:
        (b_1 + ... + b_R, ...) by rank.
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
    """(b,) int64: indices of this process's rows in `gather_rows(rows)`."""
    start = sum(row_counts(rows)[: rank()]) if world_size() > 1 else 0
    return torch.arange(start, start + rows.shape[0], device=rows.device)


@torch.no_grad()
def average_over_replicas(tensors: Sequence[Tensor]) -> None:
    """Replace tensors by their mean over all processes, in one message.

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
    """Weight b R / (sum of b): a loss times this makes DDP's mean exact for unequal rows."""
    counts = row_counts(rows)
    return len(counts) * rows.shape[0] / max(sum(counts), 1)


def replica_share(count: Tensor, rows: Tensor) -> Tensor:
    """Divisor of a sum over this process's items, for a mean over items instead of rows.

    Args:
        count: 0-d, number of this process's items (masked tokens, say).
        rows: (b, ...) this process's rows.

    Returns:
        0-d float: the items of all processes times b / (b_1 + ... + b_R); at least one item is assumed.
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
    """All-gather of rows, padded if counts differ; backward is its transpose, a sum over processes."""

    @staticmethod
    def forward(ctx: Any, rows: Tensor, counts: list[int]) -> Tensor:
        ctx.counts = counts
        # Collectives need equal shapes: pad to the longest, cut afterwards.
        missing = max(counts) - rows.shape[0]
        sent = rows.detach().contiguous()
        if missing:
            sent = F.pad(sent, [0, 0] * (rows.dim() - 1) + [0, missing])
        pieces = [torch.empty_like(sent) for _ in counts]
        dist.all_gather(pieces, sent)
        return torch.cat([piece[:count] for piece, count in zip(pieces, counts, strict=True)])

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        # all_reduce and a slice, not reduce_scatter: it allows unequal parts and every backend has it.
        # The clone is needed: autograd may pass the same tensor to another consumer.
        total = gradients[0].clone(memory_format=torch.contiguous_format)
        dist.all_reduce(total)
        start = sum(ctx.counts[: dist.get_rank()])
        return total[start : start + ctx.counts[dist.get_rank()]].clone(), None
