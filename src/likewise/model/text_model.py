"""The abilities of models that read texts, in any form of texts.

Dimensions: N and M texts, D width of the embedding.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, overload

import numpy as np
from torch import Tensor

from likewise.model.inputs import Texts, checked_texts
from likewise.model.runtime import Runtime, returned_as
from likewise.model.text_vectors import cosines_of_all, cosines_of_pairs, text_vectors

__all__ = ["TextModel"]


class TextModel(Runtime):
    """A model that embeds texts, where its network does."""

    @overload
    def encode_texts(
        self,
        texts: Texts,
        *,
        batch_size: int = 256,
        normalize: bool = True,
        return_tensors: Literal["np"] = "np",
    ) -> np.ndarray: ...

    @overload
    def encode_texts(
        self, texts: Texts, *, batch_size: int = 256, normalize: bool = True, return_tensors: Literal["pt"]
    ) -> Tensor: ...

    def encode_texts(
        self,
        texts: Texts,
        *,
        batch_size: int = 256,
        normalize: bool = True,
        return_tensors: Literal["np", "pt"] = "np",
    ) -> np.ndarray | Tensor:
        """Embed texts.

        Args:
            texts: one or several; those longer than the model reads are cut.
            batch_size: texts per forward pass, fewer where they are long.
            normalize: scale the vectors to unit length.
            return_tensors: "np" for an array, "pt" for a tensor on the CPU.

        Returns:
            (N, D) float32; (1, D) for a single text.

        Raises:
            AbilityError: the model has no text encoder.
            DataError: a text is empty or not a string.
            ValueError: `batch_size` below 1.
        """
        vectors = text_vectors(self, checked_texts(texts), batch_size=batch_size, normalize=normalize)
        return returned_as(return_tensors, vectors)

    def similarity(self, first: str | Sequence[str], second: str | Sequence[str]) -> np.ndarray:
        """(N, M) float32 cosines of N texts with M texts; errors as of `encode_texts`."""
        return cosines_of_all(self, checked_texts(first), checked_texts(second))

    def similarity_pairwise(self, first: str | Sequence[str], second: str | Sequence[str]) -> np.ndarray:
        """(N,) float32 cosines of text i of one list with text i of another; errors as of `encode_texts`, and
        DataError for lists of different lengths."""
        return cosines_of_pairs(self, checked_texts(first), checked_texts(second))
