"""Vectors of texts and their cosines.

Dimensions: N and M texts, D width of the embedding.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from likewise.errors import DataError
from likewise.model.runtime import Runtime, joined_vectors

__all__ = ["cosines_of_all", "cosines_of_pairs", "length_batches", "most_tokens", "text_vectors"]

# Tokens of a batch. On a CPU, activations of more leave its cache: 256 texts at a time were 18 % slower than
# 64 (MiniLM, one core of a Xeon). Accelerators want many.
_MOST_TOKENS = {"cpu": 2048}
_MOST_TOKENS_ELSEWHERE = 16_384


def text_vectors(
    model: Runtime, texts: Sequence[str], *, batch_size: int = 256, normalize: bool = True
) -> np.ndarray:
    """(N, D) float32 vectors of texts, computed in order of their length.

    Raises:
        AbilityError: the model has no text encoder.
        ValueError: `batch_size` below 1.
    """
    network = model.needs("encode_texts")
    assert model.tokenizer is not None
    tokens = model.tokenizer.encode(texts)
    order, parts = length_batches(
        [len(row) for row in tokens], batch_size, most_tokens=most_tokens(model.device)
    )

    def embed(rows: slice) -> Tensor:
        with model.computing():
            return cast(Tensor, network.encode_texts(*model.padded([tokens[place] for place in order[rows]])))

    in_order = joined_vectors(map(embed, parts), dim=model.dim, normalize=normalize)
    vectors = np.empty_like(in_order)
    vectors[order] = in_order
    return vectors


def most_tokens(device: torch.device) -> int:
    """Tokens of a batch, with padding, by which a kind of device is fastest."""
    return _MOST_TOKENS.get(device.type, _MOST_TOKENS_ELSEWHERE)


def cosines_of_all(model: Runtime, first: Sequence[str], second: Sequence[str]) -> np.ndarray:
    """(N, M) float32 cosines."""
    cosines: np.ndarray = text_vectors(model, first) @ text_vectors(model, second).T
    return cosines.clip(-1, 1)


def cosines_of_pairs(model: Runtime, first: Sequence[str], second: Sequence[str]) -> np.ndarray:
    """(N,) float32 cosines of text i with text i. Raises DataError where the numbers differ."""
    if len(first) != len(second):
        raise DataError(
            f"{len(first)} texts and {len(second)} texts do not make pairs; give as many of each."
        )
    cosines: np.ndarray = (text_vectors(model, first) * text_vectors(model, second)).sum(axis=1)
    return cosines.clip(-1, 1)


def length_batches(
    lengths: Sequence[int], batch_size: int, *, most_tokens: int
) -> tuple[NDArray[np.int64], list[slice]]:
    """Batches of texts of like length, the longest first, so that memory runs out at once or never.

    Args:
        lengths: tokens of each of N texts.
        batch_size: at most so many texts.
        most_tokens: at most so many tokens, or a single text.

    Returns:
        (N,) places of the texts in order of length, and the slices of that order.

    Raises:
        ValueError: `batch_size` below 1.
    """
    if batch_size < 1:
        raise ValueError(f"batch_size must be at least 1, got {batch_size}")
    order = np.argsort(-np.asarray(lengths, dtype=np.int64), kind="stable")
    parts, start = [], 0
    while start < len(order):
        rows = max(1, min(batch_size, most_tokens // lengths[order[start]]))
        parts.append(slice(start, min(start + rows, len(order))))
        start += rows
    return order, parts
