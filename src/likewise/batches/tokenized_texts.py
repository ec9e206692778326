"""Every text of a column, tokenized once.

Dimensions: N rows, B of a batch, C captions of all rows together.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Protocol

import numpy as np
import torch

from likewise.batches.batch import AnswerBatch, TokenBatch
from likewise.data.annotation_kinds import WeightedTexts
from likewise.data.column_kinds import Texts
from likewise.data.columns import Needs, column_names
from likewise.data.dataset import Dataset
from likewise.views import caption_flags

__all__ = [
    "AnswerTable",
    "GroupMates",
    "TokenTable",
    "Tokenizes",
    "tokenize",
    "tokenize_answers",
    "training_answers",
    "training_texts",
]


class Tokenizes(Protocol):
    """What is needed of a tokenizer."""

    def encode(self, texts: Sequence[str]) -> list[np.ndarray]:
        """One (L,) int32 array a text."""

    def pad(self, rows: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
        """Tokens and mask, (B, L) each, as long as the longest row."""


def training_texts(dataset: Dataset, needs: Needs) -> Iterator[str]:
    """The texts of every column that is needed, for training a tokenizer."""
    for name in column_names(Texts):
        if name in needs and dataset.has(name):
            yield from (text for row in dataset.column(name).values for text in row)
    for name in column_names(WeightedTexts):
        if name in needs and dataset.has(name):
            yield from (text for row in dataset.column(name).values for text, _ in row)


def training_answers(dataset: Dataset) -> tuple[str, ...]:
    """Every answer, by its total weight, the heaviest first; equal ones by the alphabet."""
    if not dataset.has("answer"):
        return ()
    weights: dict[str, float] = {}
    for row in dataset.column("answer").values:
        for text, weight in row:
            weights[text] = weights.get(text, 0.0) + weight
    return tuple(sorted(weights, key=lambda text: (-weights[text], text)))


def tokenize(dataset: Dataset, tokenizer: Tokenizes | None, needs: Needs) -> dict[str, TokenTable]:
    """The tokens of every column of texts that is needed; none without a tokenizer.

    A row that lacks an optional text has an empty one.
    """
    if tokenizer is None:
        return {}
    names = [name for name in column_names(Texts) if name in needs and dataset.has(name)]
    return {
        name: TokenTable([row or ("",) for row in dataset.column(name).values], tokenizer) for name in names
    }


def tokenize_answers(dataset: Dataset, tokenizer: Tokenizes | None, needs: Needs) -> AnswerTable | None:
    """The tokens of the answers, where they are needed."""
    if tokenizer is None or "answer" not in needs or not dataset.has("answer"):
        return None
    return AnswerTable(dataset.column("answer").values, tokenizer)


class TokenTable:
    """The tokens of every caption, and which captions are which row's.

    Args:
        texts: for each row its captions, at least one.
        tokenizer: turns texts into tokens.
    """

    def __init__(self, texts: Sequence[tuple[str, ...]], tokenizer: Tokenizes) -> None:
        self._tokenizer = tokenizer
        counts = np.array([len(row) for row in texts], dtype=np.int64)
        if counts.size == 0 or counts.min() == 0:
            raise ValueError("every row needs at least one text; rows without one belong to the bad records.")
        self.counts = counts  # (N,)
        self.first = np.concatenate([[0], np.cumsum(counts)[:-1]])  # (N,) place of each row's first caption
        self.captions: list[str] = [text for row in texts for text in row]
        self._tokens = tokenizer.encode(self.captions)
        self._flags = caption_flags(self.captions)  # keep_sides and keep_colours, (C,) bool

    def places_of_length(self, length: int) -> list[int]:
        """Places in `captions` of the texts of so many tokens."""
        return [place for place, tokens in enumerate(self._tokens) if len(tokens) == length]

    def pick(self, index: np.ndarray, uniform: np.ndarray) -> np.ndarray:
        """One caption of each row.

        Args:
            index: (B,) rows.
            uniform: (B,) numbers in [0, 1) that choose.

        Returns:
            (B,) places in `captions`.
        """
        picked: np.ndarray = self.first[index] + (uniform * self.counts[index]).astype(np.int64)
        return picked

    def batch(self, index: np.ndarray, uniform: np.ndarray, *, per_row: int = 1) -> TokenBatch:
        """Captions of each of B rows, from the one that `uniform` picks on.

        With `per_row` K > 1 the tokens and the mask are (B, K, L); where a row has fewer captions, the mask
        is False for the rest. A row's flags are those of all its captions together.
        """
        captions = self.pick(index, uniform)
        if per_row == 1:
            return self.batch_of(captions)
        first, counts = self.first[index, None], self.counts[index, None]  # (B, 1)
        places = first + (captions[:, None] - first + np.arange(per_row)) % counts  # (B, K)
        tokens, mask = (
            torch.from_numpy(values).view(*places.shape, -1) for values in self.padded(places.ravel())
        )
        mask &= torch.from_numpy(np.arange(per_row) < counts)[..., None]
        return TokenBatch(tokens, mask, *(flag[places].any(dim=1) for flag in self._flags))

    def batch_of(self, captions: np.ndarray) -> TokenBatch:
        """The tokens of (B,) captions, by their places."""
        tokens, mask = map(torch.from_numpy, self.padded(captions))
        return TokenBatch(tokens, mask, *(flag[captions] for flag in self._flags))

    def padded(self, captions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Tokens and mask, (B, L) each, of some captions, as long as the longest of them."""
        return self._tokenizer.pad([self._tokens[place] for place in captions])


class GroupMates:
    """For each text another text of its group: of the same row, or of another row that means the same.

    Args:
        table: C captions of N rows.
        groups: (N,) int64, equal for rows that mean the same.
    """

    def __init__(self, table: TokenTable, groups: np.ndarray) -> None:
        of_captions = np.repeat(groups, table.counts)  # (C,)
        self._order = np.argsort(of_captions, kind="stable")  # captions, group by group
        self._place = np.empty_like(self._order)
        self._place[self._order] = np.arange(len(self._order))
        _, first, group, count = np.unique(
            of_captions[self._order], return_index=True, return_inverse=True, return_counts=True
        )
        self._first, self._count = first[group], count[group]  # (C,) of the group, in that order

    @classmethod
    def find(cls, table: TokenTable, groups: np.ndarray) -> GroupMates | None:
        """None where no group has two different texts."""
        texts = {
            (group, text) for group, text in zip(np.repeat(groups, table.counts), table.captions, strict=True)
        }
        return cls(table, groups) if len(texts) > len(np.unique(groups)) else None

    def pick(self, captions: np.ndarray, uniform: np.ndarray) -> np.ndarray:
        """Another caption of each one's group; itself where it is the only one.

        Args:
            captions: (B,) places of captions.
            uniform: (B,) numbers in [0, 1) that choose.

        Returns:
            (B,) places of captions.
        """
        place = self._place[captions]
        first, count = self._first[place], self._count[place]
        others = np.maximum(count - 1, 1)
        ahead = 1 + (uniform * others).astype(np.int64)
        mates: np.ndarray = self._order[first + (place - first + ahead) % count]
        return mates


class AnswerTable:
    """The tokens of every answer, and which answers with which weights are which row's.

    Args:
        answers: for each row its answers with their weights.
        tokenizer: turns texts into tokens.
    """

    def __init__(self, answers: Sequence[tuple[tuple[str, float], ...]], tokenizer: Tokenizes) -> None:
        self._tokenizer = tokenizer
        places = {
            text: place for place, text in enumerate(dict.fromkeys(t for row in answers for t, _ in row))
        }
        self._rows = [[(places[text], weight) for text, weight in row] for row in answers]
        *self._tokens, self._blank = tokenizer.encode([*places, ""])

    def batch(self, index: np.ndarray) -> AnswerBatch:
        """All answers of B rows."""
        rows = [self._rows[place] for place in index.tolist()]
        most = max(1, *map(len, rows))
        weights = torch.zeros(len(rows), most)
        chosen = [self._blank] * weights.numel()
        for number, row in enumerate(rows):
            for k, (place, weight) in enumerate(row):
                weights[number, k] = weight
                chosen[number * most + k] = self._tokens[place]
        tokens, mask = (
            torch.from_numpy(part).view(*weights.shape, -1) for part in self._tokenizer.pad(chosen)
        )
        return AnswerBatch(tokens, mask, weights)
