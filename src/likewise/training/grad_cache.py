"""Cached gradients: any batch size in the memory of a small one, for about one more forward pass.

Gao, Zhang, Han and Callan 2021, "Scaling deep contrastive learning batch size under memory limited setup",
arXiv 2101.06983, section 3.2. (1) Embed the batch piece by piece without a graph. (2) Compare all
embeddings, and keep the loss's gradient for each. (3) Embed each piece again, with a graph, and send its
gradient back. Random state (dropout) is seeded for each piece, so both passes draw the same masks.

Dimensions: B rows on this replica, m rows a piece.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager

import torch
from torch import Tensor, nn

from likewise.batches.batch import Batch
from likewise.methods.base import Embeddings, LossOutput
from likewise.step_random import StepRandom

__all__ = ["cached_backward", "frozen_batch_norm", "piece_bounds"]


def cached_backward(
    embed: Callable[[Batch, StepRandom], Embeddings],
    objective: Callable[[Embeddings], LossOutput],
    batch: Batch,
    draw: StepRandom,
    *,
    micro_batch_size: int,
    seed_piece: Callable[[int], None],
    frozen_buffers: Callable[[], AbstractContextManager[None]],
    backward: Callable[[Tensor], None],
) -> tuple[LossOutput, Embeddings]:
    """Leave in `.grad` what one backward over the whole batch would leave there.

    Args:
        embed: runs the networks on some rows.
        objective: compares all rows' embeddings; its own weights (a temperature) get their gradient once.
        batch: B rows.
        draw: where random views come from; keyed by row, so pieces draw what the whole batch would.
        micro_batch_size: m; pieces are alike in size, and at most so large.
        seed_piece: seeds the random state of piece k, the same in both passes.
        frozen_buffers: within it, running statistics (BatchNorm's) are not updated, so that the second
            pass does not count every row twice.
        backward: runs backward from a scalar (scaled, where the precision asks for it).

    Returns:
        The terms and the embeddings of the whole batch, without a graph.
    """
    bounds = piece_bounds(len(batch), micro_batch_size)
    pieces = [batch.rows(start, stop) for start, stop in bounds]
    with torch.no_grad():
        embedded = []
        for number, piece in enumerate(pieces):
            seed_piece(number)
            embedded.append(embed(piece, draw))
    whole = {name: torch.cat([one[name] for one in embedded]) for name in embedded[0]}
    leaves = {name: value.requires_grad_() for name, value in whole.items() if value.is_floating_point()}
    terms = objective(whole)
    backward(terms.total)

    with frozen_buffers():
        for number, piece in enumerate(pieces):
            seed_piece(number)
            again = embed(piece, draw)
            rows = slice(*bounds[number])
            backward(_surrogate(again, ((name, leaf.grad, rows) for name, leaf in leaves.items())))
    return LossOutput(terms.total.detach(), terms.parts), {
        name: value.detach() for name, value in whole.items()
    }


def piece_bounds(rows: int, most: int) -> list[tuple[int, int]]:
    """Where pieces of `most` rows at most begin and end, as alike as can be: a short last one would leave
    BatchNorm a poor batch, or one of a single row, which it refuses."""
    count = -(-rows // most)
    return [(rows * k // count, rows * (k + 1) // count) for k in range(count)]


def _surrogate(embeddings: Embeddings, gradients: Iterable[tuple[str, Tensor | None, slice]]) -> Tensor:
    """A scalar whose gradient for each embedding is the cached one: their inner product."""
    products = [
        (embeddings[name] * gradient[rows]).sum()
        for name, gradient, rows in gradients
        if gradient is not None and embeddings[name].requires_grad
    ]
    return torch.stack(products).sum()


@contextmanager
def frozen_batch_norm(method: nn.Module) -> Iterator[None]:
    """Put the running statistics back afterwards."""
    norms = [module for module in method.modules() if isinstance(module, nn.modules.batchnorm._BatchNorm)]
    kept = [(buffer, buffer.clone()) for norm in norms for buffer in norm.buffers()]
    try:
        yield
    finally:
        for buffer, value in kept:
            buffer.copy_(value)
