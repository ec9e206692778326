"""A slow copy of a network: its weights are the moving average of the weights that are trained."""

from __future__ import annotations

import copy
import math
from typing import Any

import torch
from torch import Tensor, nn

__all__ = ["EMAEncoder", "cosine_momentum"]


class EMAEncoder(nn.Module):
    """The twin of a network. It computes without a graph and follows by `follow`.

    Args:
        online: the network that is trained; the twin starts as its copy.
    """

    def __init__(self, online: nn.Module) -> None:
        super().__init__()
        self.module = copy.deepcopy(online).requires_grad_(False)

    @torch.no_grad()
    def forward(self, *inputs: Any) -> Any:
        """What the online network would return, by the slow weights."""
        return self.module(*inputs)

    @torch.no_grad()
    def follow(self, online: nn.Module, momentum: float) -> None:
        """Move to momentum * own + (1 - momentum) * online, weights and running statistics alike.

        Without its statistics (BatchNorm's) an averaged network is none: they belong to the weights they
        were measured with (Tarvainen and Valpola 2017, arXiv 1703.01780). Counters are copied.

        Args:
            online: the network this is the twin of.
            momentum: in [0, 1]; 0 copies.
        """
        own, others = _tensors(self.module), _tensors(online)
        # A few launches for all tensors together, instead of one for each.
        torch._foreach_lerp_(own, others, 1 - momentum)
        for mine, theirs in zip(self.module.buffers(), online.buffers(), strict=True):
            if not mine.is_floating_point():
                mine.copy_(theirs)


def _tensors(module: nn.Module) -> list[Tensor]:
    """Weights and running statistics."""
    return [*module.parameters(), *(buffer for buffer in module.buffers() if buffer.is_floating_point())]


def cosine_momentum(start: float, share: float) -> float:
    """Momentum that rises from `start` to 1 along half a cosine.

    Args:
        start: in [0, 1].
        share: how much of the training is done, in [0, 1].

    Reference:
        Grill et al. 2020, arXiv 2006.07733, section 3.3; Chen et al. 2021, arXiv 2104.02057, appendix A.
    """
    return 1 - (1 - start) * (math.cos(math.pi * share) + 1) / 2
