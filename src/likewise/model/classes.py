"""Classes of images by a model whose network tells them apart."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from torch import Tensor

from likewise.model.runtime import Runtime, joined_vectors

__all__ = ["class_probabilities"]


def class_probabilities(model: Runtime, batches: Iterable[Tensor]) -> np.ndarray:
    """Probability of each class.

    Args:
        model: its network can classify.
        batches: stored squares, (B, 3, S, S) uint8 each.

    Returns:
        (N, C) float32, rows that sum to one.

    Raises:
        AbilityError: the model cannot classify.
    """
    network = model.needs("classify")

    def classified(stored: Tensor) -> Tensor:
        with model.computing():
            logits: Tensor = network.classify_images(model.pixels(stored))
            return logits.float().softmax(dim=1)

    return joined_vectors(map(classified, batches), dim=len(network.class_names()), normalize=False)
