"""What the replicas of a run do together, besides the gathering that methods do themselves."""

from __future__ import annotations

import torch
from torch import nn

from likewise.collectives import world_size
from likewise.methods.method import Terms

__all__ = ["mean_terms", "reduce_gradients"]


def mean_terms(terms: Terms) -> Terms:
    """The mean over the replicas of what each measured on its own rows."""
    if world_size() == 1:
        return terms
    numbers = torch.stack([terms.total.detach().float(), *(part.float() for part in terms.parts.values())])
    torch.distributed.all_reduce(numbers)
    total, *parts = (numbers / world_size()).unbind()
    return Terms(total, dict(zip(terms.parts, parts, strict=True)))


def reduce_gradients(method: nn.Module) -> None:
    """The mean of the replicas' gradients, in one message."""
    if world_size() == 1:
        return
    gradients = [parameter.grad for parameter in method.parameters() if parameter.grad is not None]
    flat = torch.cat([gradient.flatten() for gradient in gradients])
    torch.distributed.all_reduce(flat)
    flat /= world_size()
    sizes = [gradient.numel() for gradient in gradients]
    for gradient, piece in zip(gradients, torch.split(flat, sizes), strict=True):
        gradient.copy_(piece.view_as(gradient))
