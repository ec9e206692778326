"""The image regions behind an answer: Grad-CAM over the fusion encoder's cross-attention.

As `likewise.model.explanations.grad_cam`, of the answer's log-likelihood instead of a match.

Dimensions: P questions, L tokens of a question, H heads, N patches, D width, g side of the grid.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from likewise.encoders.decoders import Memory
from likewise.errors import AbilityError
from likewise.model.explanations.attention_cam import text_maps, token_maps
from likewise.model.runtime import Runtime
from likewise.networks.answerer import AnswerNetwork
from likewise.networks.fused_states import image_tokens, text_tokens

__all__ = ["answer_maps"]


def answer_maps(
    model: Runtime, stored: Tensor, questions: Sequence[str], answers: Sequence[str]
) -> NDArray[np.float32]:
    """Where the model looks when it gives these answers.

    Args:
        model: answers with a fusion encoder.
        stored: (P, 3, S, S) uint8 squares.
        questions: P.
        answers: P.

    Returns:
        (P, g, g), at least 0: how much each region supports the answer, mean over the question's tokens.

    Raises:
        AbilityError: the model has no fusion encoder that reads questions.
    """
    network = model.network
    if not isinstance(network, AnswerNetwork):
        raise AbilityError(f"this model ({model.config['method']}) has no attention of questions to images.")
    (tokens, mask), (replies, real) = model.tokens(questions), model.tokens(answers)
    training = network.training
    network.eval()
    try:
        with torch.no_grad():
            image_states = image_tokens(network.image, model.pixels(stored))
            text_states = text_tokens(network.text, tokens, mask)
        with torch.enable_grad():
            # The states are leaves, so that there is a graph even if all weights are frozen.
            leaves = text_states.requires_grad_(), mask, image_states.requires_grad_()
            place = (len(network.fusion.layers) - 1) // 2
            # (P, L, D) and (P, H, L, 1 + N)
            fused, weights = network.fusion.with_attention(*leaves, layer=place)
            log_probs = network.log_likelihoods(Memory(fused, fused[:, 0], mask), replies, real)
            (gradient,) = torch.autograd.grad(log_probs.sum(), weights)
    finally:
        network.train(training)
    found: NDArray[np.float32] = text_maps(token_maps(weights, gradient), mask).float().cpu().numpy()
    return found
