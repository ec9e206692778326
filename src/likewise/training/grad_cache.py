"""Cached gradients: any batch size in the memory of a small one, for about one more forward pass.

Gao, Zhang, Han and Callan 2021, "Scaling deep contrastive learning batch size under memory limited setup",
arXiv 2101.06983, section 3.2. (1) Embed the batch part by part without a graph. (2) Compute the loss of all
embeddings, and keep its gradient for each. (3) Embed each part again with a graph, and backpropagate its
gradient. Random state (dropout) is seeded for each part, so both passes draw the same masks.

Dimensions: B rows on this process, m rows of a part.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager

import torch
from torch import Tensor

from likewise.batches.batch import Batch
from likewise.errors import ConfigError
from likewise.mechanisms.batch_norm import has_batch_norm
from likewise.methods.base import Embeddings, LossOutput, Method, Step

__all__ = ["cached_backward", "check_micro_batch_size", "part_bounds"]


def cached_backward(
    embed: Callable[[Batch, Step], Embeddings],
    objective: Callable[[Embeddings, Step], LossOutput],
    batch: Batch,
    step: Step,
    *,
    micro_batch_size: int,
    seed_part: Callable[[int], None],
    frozen_buffers: Callable[[], AbstractContextManager[None]],
    backward: Callable[[Tensor], None],
) -> tuple[LossOutput, Embeddings]:
    """Leave in `.grad` what one backward over the whole batch would leave there.

    Args:
        embed: runs the networks on some rows.
        objective: compares all rows' embeddings; its own weights (a temperature) get their gradient once.
        batch: B rows.
        step: its random numbers are keyed by row, so parts draw what the whole batch would.
        micro_batch_size: m; parts have equal sizes, at most m.
        seed_part: seeds the random state of part k, the same in both passes.
        frozen_buffers: inside it running statistics (BatchNorm's) are not updated, so that the second pass
            does not count every row twice.
        backward: runs backward from a scalar (scaled, if the precision asks for it).

    Returns:
        The loss and the embeddings of the whole batch, without a graph.
    """
    bounds = part_bounds(len(batch), micro_batch_size)
    parts = [batch.rows(start, stop) for start, stop in bounds]

    def embed_part(number: int) -> Embeddings:
        seed_part(number)
        return embed(parts[number], step)

    with torch.no_grad():
        embedded = [embed_part(number) for number in range(len(parts))]
    whole = {name: torch.cat([part[name] for part in embedded]) for name in embedded[0]}
    leaves = {name: value.requires_grad_() for name, value in whole.items() if value.is_floating_point()}
    loss = objective(whole, step)
    backward(loss.total)

    with frozen_buffers():
        for number, (start, stop) in enumerate(bounds):
            again = embed_part(number)
            # The gradient of this inner product for each embedding is the cached one.
            products = [
                (again[name] * leaf.grad[start:stop]).sum()
                for name, leaf in leaves.items()
                if leaf.grad is not None and again[name].requires_grad
            ]
            if products:
                backward(torch.stack(products).sum())
    detached = {name: value.detach() for name, value in whole.items()}
    return LossOutput(loss.total.detach(), loss.parts), detached


def part_bounds(rows: int, most: int) -> list[tuple[int, int]]:
    """Where parts of at most `most` rows begin and end, of sizes as equal as possible: BatchNorm rejects a
    last part of one row."""
    count = -(-rows // most)
    return [(rows * k // count, rows * (k + 1) // count) for k in range(count)]


def check_micro_batch_size(method: Method, micro_batch_size: int | None, rows: int) -> None:
    """Check that the rows of a process can be embedded in parts.

    Raises:
        ConfigError: the method needs whole batches, or BatchNorm would see single rows.
    """
    if micro_batch_size is None:
        return
    if method.no_grad_cache_reason is not None:
        raise ConfigError(
            f"training.micro_batch_size: {method.name} cannot embed a batch in parts, "
            f"{method.no_grad_cache_reason}"
        )
    shortest = min(stop - start for start, stop in part_bounds(rows, micro_batch_size))
    if shortest == 1 < rows and has_batch_norm(method):
        raise ConfigError(
            f"training.micro_batch_size {micro_batch_size} cuts {rows} rows into parts of one, on which "
            "BatchNorm cannot train; choose a larger one."
        )
