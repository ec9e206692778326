"""Weights that no feature depends on, such as a pre-trained model's pooler or mask token."""

from __future__ import annotations

import torch
from torch import Tensor, nn

__all__ = ["freeze_unused"]


def freeze_unused(encoder: nn.Module, *example: Tensor) -> None:
    """Freeze the weights that none of an encoder's features depends on.

    They never get a gradient, and distributed training waits for the gradient of every trainable weight.

    Args:
        encoder: returns a tuple of features.
        example: a batch of one row, as `encoder` takes it.
    """
    weights = [weight for weight in encoder.parameters() if weight.requires_grad]
    with torch.enable_grad():
        total = torch.stack([features.float().sum() for features in encoder(*example)]).sum()
        gradients = torch.autograd.grad(total, weights, allow_unused=True)
    for weight, gradient in zip(weights, gradients, strict=True):
        if gradient is None:
            weight.requires_grad_(False)
