"""Classes by their names alone: the caption that is nearest to an image."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from likewise.errors import ConfigError
from likewise.metrics.prompts import prompts

if TYPE_CHECKING:
    from likewise.model.model import Model

__all__ = ["ZeroShotClassifier"]

# Where the model keeps none: CLIP's at the start of training (2103.00020, section 2.5).
_TEMPERATURE = 0.07


class ZeroShotClassifier:
    """Tells classes apart by a model that embeds images and texts (Radford 2021, 2103.00020, section 3.1).

    Args:
        model: embeds both.
        labels: C names, such as "dog" and "cat".
        templates: a set of sentences (see `likewise.metrics.prompts`), or a sentence with one {}.
        temperature: divides the cosines; the model's own when None, 0.07 where it keeps none.

    Raises:
        AbilityError: the model cannot embed texts.
        ConfigError: fewer than two names, one of them twice, or no such templates.
    """

    def __init__(
        self,
        model: Model,
        labels: Sequence[str],
        *,
        templates: str = "photo",
        temperature: float | None = None,
    ) -> None:
        if len(set(labels)) < max(2, len(labels)):
            raise ConfigError(f"--labels {','.join(labels)}: expected at least two names, each of them once.")
        if temperature is not None and not temperature > 0:
            raise ConfigError(f"--temperature is {temperature}; expected above 0.")
        try:
            rows = prompts(list(labels), [templates] if "{}" in templates else templates)  # C lists of T
        except ValueError as error:
            raise ConfigError(
                f"--templates: expected a set's name or a sentence with one {{}}, but {error}."
            ) from error
        self.classes = tuple(labels)
        vectors = model.encode_texts([text for row in rows for text in row])  # (C T, D)
        means = vectors.reshape(len(rows), len(rows[0]), -1).mean(axis=1)  # (C, D)
        self._vectors = means / np.maximum(np.linalg.norm(means, axis=1, keepdims=True), 1e-12)
        if temperature is None:
            own = model.needs("match").temperature if "match" in model.abilities else None
            temperature = _TEMPERATURE if own is None else float(own.detach())
        self._temperature = temperature

    def probabilities(self, vectors: NDArray[np.float32]) -> NDArray[np.float32]:
        """(N, C) float32 of the unit vectors (N, D) of images; rows sum to one."""
        logits = vectors.astype(np.float64) @ self._vectors.T / self._temperature
        logits -= logits.max(axis=1, keepdims=True)
        odds = np.exp(logits)
        return np.asarray(odds / odds.sum(axis=1, keepdims=True), np.float32)
