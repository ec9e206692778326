"""The image regions behind a match: Grad-CAM over cross-attention.

Selvaraju et al. 2016, arXiv 1610.02391, on the attention of words to patches as in Li et al. 2021, arXiv
2107.07651, section 6.2: attention times the positive part of its gradient of the match logit, mean over the
heads. Dimensions: P pairs, H heads, L tokens, N patches, W words, g side of the patch grid.
"""

from __future__ import annotations

import torch
from torch import Tensor

from likewise.errors import AbilityError
from likewise.model.explanations.attention_cam import token_maps
from likewise.model.explanations.explanation import Explanation, by_words
from likewise.model.runtime import Runtime
from likewise.networks.fusion import FusionNetwork

__all__ = ["can_explain", "explain", "explainable", "word_maps"]


def can_explain(model: Runtime) -> bool:
    """Whether the model has a fusion encoder of at least two layers."""
    return isinstance(model.network, FusionNetwork) and len(model.network.fusion.layers) > 1


def explainable(model: Runtime) -> FusionNetwork:
    """The model's network, whose words must affect the match.

    Raises:
        AbilityError: it has no fusion encoder, or one of a single layer.
    """
    network = model.network
    if not isinstance(network, FusionNetwork):
        raise AbilityError(
            f"this model ({model.config['method']}) has no attention between words and images to explain; "
            "models of tcl have."
        )
    if not can_explain(model):
        raise AbilityError(
            "this model's fusion encoder has one layer, in which only [CLS] affects the match; train "
            "with --method.fusion-depth 2 or more."
        )
    return network


def explain(
    model: Runtime, stored: Tensor, texts: list[str], *, layer: int | None = None
) -> list[Explanation]:
    """Explain pairs.

    Args:
        model: has a fusion encoder.
        stored: (P, 3, S, S) uint8 squares.
        texts: P texts.
        layer: index of the fusion layer; the middle one when None (the third of six, as in the paper).

    Raises:
        AbilityError: the model has no fusion encoder, or one of a single layer.
        ValueError: there is no such layer, or it is the last.
    """
    network = explainable(model)
    tokenizer = model.tokenizer
    assert tokenizer is not None
    tokens, mask = model.tokens(texts)
    with model.computing(with_gradients=True):
        maps, logits = word_maps(network, model.pixels(stored), tokens, mask, layer=layer)
    probabilities = (logits[:, 1] - logits[:, 0]).sigmoid().tolist()
    explanations = []
    for text, rows, probability in zip(texts, maps.float().cpu().numpy(), probabilities, strict=True):
        words, of_words = by_words(tokenizer.word_spans(text), rows)
        explanations.append(
            Explanation(words=words, maps=of_words, whole=rows[0], text=text, probability=probability)
        )
    return explanations


def word_maps(
    network: FusionNetwork, pixels: Tensor, tokens: Tensor, mask: Tensor, *, layer: int | None = None
) -> tuple[Tensor, Tensor]:
    """Grad-CAM of the match logit on one fusion layer's attention to the image.

    Args:
        network: in evaluation mode.
        pixels: (P, 3, S, S) normalized.
        tokens: (P, L) int64.
        mask: (P, L) bool.
        layer: index of the fusion layer; the middle one when None.

    Returns:
        (P, L, g, g) maps, at least 0, and (P, 2) match logits.
    """
    depth = len(network.fusion.layers)
    place = (depth - 1) // 2 if layer is None else layer
    if not -depth <= place < depth:
        raise ValueError(f"the fusion encoder has {depth} layers, got layer {place}")
    if place % depth == depth - 1:
        raise ValueError(f"in the last layer, {place}, only [CLS] affects the match; choose a lower one")
    with torch.no_grad():
        image_states, text_states = network.image_states(pixels), network.text_states(tokens, mask)
    with torch.enable_grad():
        # The states are leaves, so that there is a graph even if all weights are frozen.
        leaves = text_states.requires_grad_(), mask, image_states.requires_grad_()
        fused, weights = network.fusion.with_attention(*leaves, layer=place)  # (P, L, F), (P, H, L, 1 + N)
        logits = network.match_head(fused[:, 0])
        (gradient,) = torch.autograd.grad(logits[:, 1].sum(), weights)
    return token_maps(weights, gradient), logits.detach()
