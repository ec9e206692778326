"""Ranks the candidates of a search by a model that judges pairs."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from likewise.model.inputs import ImageInput
from likewise.model.pair_scorer import PairScorer
from likewise.model.runtime import Runtime

__all__ = ["candidate_scores"]


def candidate_scores(
    model: Runtime, images: Sequence[ImageInput], text: str, *, batch_size: int = 64
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """How well each image fits a text.

    Args:
        model: has the ability `match`.
        images: N candidates, in any form.
        text: the query.
        batch_size: images a forward pass.

    Returns:
        (N,) scores to rank by (see `PairScorer.posterior`) and (N,) probabilities of the match.

    Raises:
        AbilityError: the model cannot judge pairs.
        DataError: an image cannot be read.
    """
    model.needs("match")
    scorer = PairScorer(model, model.stored_batches(list(images), batch_size), [text], batch_size=batch_size)
    rows, texts = np.arange(len(images)), np.zeros(len(images), np.int64)
    return scorer.posterior(rows, texts), scorer.probabilities(rows, texts)
