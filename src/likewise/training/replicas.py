"""What the replicas of a run do together, besides the gathering that methods do themselves."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import torch
from torch import nn

from likewise.collectives import world_size
from likewise.errors import TrainingError
from likewise.messages import first_line
from likewise.methods.base import LossOutput

__all__ = ["first_alone", "first_before_others", "mean_terms", "reduce_gradients"]

T = TypeVar("T")


def first_before_others(fabric: Any, work: Callable[[], T]) -> T:
    """Do the same on all replicas, on the first one before the others, however long it takes.

    What fails is raised once all replicas have come so far: where one leaves earlier, the others wait for it
    in vain and end in a trace about a lost connection.

    Args:
        fabric: knows which replica this is.
        work: what is done; the others find what the first has written.

    Returns:
        What `work` returned here.

    Raises:
        Exception: what `work` raised here.
        TrainingError: it was another replica that failed.
    """
    failure: Exception | None = None
    with fabric.rank_zero_first():
        try:
            done = work()
        except Exception as error:  # noqa: BLE001 - raised below
            failure = error
    reasons: list[str | None] = [None] * world_size()
    if world_size() > 1:
        torch.distributed.all_gather_object(reasons, None if failure is None else first_line(failure))
    if failure is not None:
        raise failure
    for number, reason in enumerate(reasons):
        if reason is not None:
            raise TrainingError(f"replica {number} cannot go on: {reason}")
    return done


def first_alone(fabric: Any, work: Callable[[], object]) -> None:
    """Do it on the first replica while the others wait; what fails ends all (`first_before_others`)."""
    first_before_others(fabric, work if fabric.is_global_zero else lambda: None)


def mean_terms(terms: LossOutput) -> LossOutput:
    """The mean over the replicas of what each measured on its own rows."""
    if world_size() == 1:
        return terms
    numbers = torch.stack([terms.total.detach().float(), *(part.float() for part in terms.parts.values())])
    torch.distributed.all_reduce(numbers)
    total, *parts = (numbers / world_size()).unbind()
    return LossOutput(total, dict(zip(terms.parts, parts, strict=True)))


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
