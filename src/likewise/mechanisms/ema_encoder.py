"""An EMA encoder: its weights are an exponential moving average of a trained network's."""

from __future__ import annotations

import copy
import math
from typing import Any

import torch
from torch import Tensor, nn

__all__ = ["EMAEncoder", "cosine_momentum"]


class EMAEncoder(nn.Module):
    """A copy of a network whose weights follow it slowly. It computes without a graph.

    Args:
        online: the trained network.
    """

    def __init__(self, online: nn.Module) -> None:
        super().__init__()
        self.module = copy.deepcopy(online).requires_grad_(False)

    @torch.no_grad()
    def forward(self, *inputs: Any) -> Any:
        """Apply the network with the averaged weights."""
        return self.module(*inputs)

    @torch.no_grad()
    def follow(self, online: nn.Module, momentum: float) -> None:
        """Set weights and running statistics to momentum * own + (1 - momentum) * online.

        BatchNorm's statistics belong to the weights they were measured with, so they are averaged too
        (Tarvainen and Valpola 2017, arXiv 1703.01780). Counters are copied.

        Args:
            online: the trained network.
            momentum: in [0, 1]; 0 copies.
        """
        own, others = _tensors(self.module), _tensors(online)
        # A few kernel launches for all tensors together, instead of one for each.
        torch._foreach_lerp_(own, others, 1 - momentum)
        for mine, theirs in zip(self.module.buffers(), online.buffers(), strict=True):
            if not mine.is_floating_point():
                mine.copy_(theirs)


def _tensors(module: nn.Module) -> list[Tensor]:
    """Weights and running statistics."""
    return [*module.parameters(), *(buffer for buffer in module.buffers() if buffer.is_floating_point())]


def cosine_momentum(start: float, share: float) -> float:
    """Momentum rising from `start` to 1 along half a cosine.

    Args:
        start: in [0, 1].
        share: share of the training that is done, in [0, 1].

    Reference:
        Grill et al. 2020, arXiv 2006.07733, section 3.3; Chen et al. 2021, arXiv 2104.02057, appendix A.
    """
    return 1 - (1 - start) * (math.cos(math.pi * share) + 1) / 2
