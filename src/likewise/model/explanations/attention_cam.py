"""Where a network with fusion layers looked: Grad-CAM of one of its logits over cross-attention.

Selvaraju et al. 2016, arXiv 1610.02391, on the attention of words to patches as in Li et al. 2021, arXiv
2107.07651, section 6.2: attention times the positive part of its gradient, mean over the heads and over the
text's tokens. Dimensions: B batch, H heads, L tokens, N patches, C classes, g side of the patch grid.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from likewise.errors import ConfigError
from likewise.model.runtime import Runtime

__all__ = ["attention_cam", "text_maps", "token_maps"]


def attention_cam(
    model: Runtime,
    ability: str,
    stored: Sequence[Tensor],
    texts: Sequence[str],
    *,
    classes: Sequence[int] | int | None = None,
    layer: int | None = None,
) -> tuple[Tensor, list[Tensor]]:
    """Maps of images, each for one class of one text.

    Args:
        model: has the ability.
        ability: `ground`, `entail` or `compare`.
        stored: (B, 3, S, S) uint8 squares; two of them for `compare`.
        texts: B.
        classes: the logit that is explained, one for all or one for each; the highest when None.
        layer: index of the fusion layer; the middle one when None (the third of six, as in the paper).

    Returns:
        (B, C) logits, and for each of `stored` (B, g, g) maps, at least 0; on the CPU.

    Raises:
        AbilityError: the model lacks the ability.
        ConfigError: there is no such layer.
    """
    network: Any = model.needs(ability)
    depth = len(network.fusion.layers)
    place = (depth - 1) // 2 if layer is None else layer
    if place not in range(depth):
        raise ConfigError(f"the model has {depth} fusion layers, 0 to {depth - 1}; got layer {place}.")
    tokens, mask = model.tokens(texts)
    training = network.training
    network.eval()
    try:
        with torch.enable_grad():
            logits, attention = getattr(network, f"{ability}_attention")(
                *map(model.pixels, stored), tokens, mask, layer=place
            )  # (B, C), (B, H, L, 1 + N) each
            chosen = torch.as_tensor(logits.argmax(1) if classes is None else classes, device=logits.device)
            score = logits.gather(1, chosen.expand(len(logits))[:, None]).sum()
            gradients = torch.autograd.grad(score, attention)
    finally:
        network.train(training)
    maps = [
        text_maps(token_maps(one, gradient), mask).float().cpu()
        for one, gradient in zip(attention, gradients, strict=True)
    ]
    return logits.detach().float().cpu(), maps


def token_maps(attention: Tensor, gradient: Tensor) -> Tensor:
    """Attention times the positive part of its gradient, mean over the heads.

    Args:
        attention: (B, H, L, 1 + N); the first image token is the pooled one, which has no place in the image.
        gradient: of the explained number, of the same shape.

    Returns:
        (B, L, g, g), at least 0, without a graph.
    """
    maps = (attention.detach() * gradient.clamp_min(0)).mean(dim=1)[:, :, 1:]  # (B, L, N)
    side = math.isqrt(maps.shape[2])
    return maps.reshape(*maps.shape[:2], side, side)


def text_maps(maps: Tensor, mask: Tensor) -> Tensor:
    """(B, L, g, g) maps of tokens and the (B, L) mask of the real ones to their (B, g, g) means."""
    return (maps * mask[:, :, None, None]).sum(dim=1) / mask.sum(dim=1)[:, None, None]
