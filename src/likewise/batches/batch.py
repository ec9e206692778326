"""One batch, as it flows from the data to a method.

B batch, L tokens (the longest text of this batch), S side of the stored images in pixels.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Any

import torch
from torch import Tensor

from likewise.errors import DataError

__all__ = ["AnswerBatch", "Batch", "TokenBatch"]

_NEXT_OCCURRENCE = 1 << 40  # above every place in a dataset, so that no two keys are equal


@dataclass(frozen=True)
class TokenBatch:
    """The tokens of one text a row, or of K texts a row for a method that asks for several.

    Attributes:
        tokens: (B, L) or (B, K, L) int64, padded with the tokenizer's padding id to the longest text of the
            batch.
        mask: (B, L) or (B, K, L) bool, True on real tokens.
        keep_sides: (B,) bool, True where the text names a side, so that the image must not be flipped.
        keep_colours: (B,) bool, True where the text names a color, so that hues must not be shifted.
    """

    tokens: Tensor
    mask: Tensor
    keep_sides: Tensor | None = None
    keep_colours: Tensor | None = None

    def map(self, function: Callable[[Any], Any]) -> TokenBatch:
        """A function of each tensor."""
        values: list[Any] = [getattr(self, field.name) for field in fields(self)]
        return TokenBatch(*[None if value is None else function(value) for value in values])  # type: ignore[arg-type]


@dataclass(frozen=True)
class AnswerBatch:
    """The tokens of all answers of each row; K is the most answers of a row of the batch.

    Attributes:
        tokens: (B, K, L) int64, padded as those of a `TokenBatch`.
        mask: (B, K, L) bool, True on real tokens.
        weights: (B, K) float32, 0 where a row has fewer answers.
    """

    tokens: Tensor
    mask: Tensor
    weights: Tensor

    def map(self, function: Callable[[Any], Any]) -> AnswerBatch:
        """A function of each tensor."""
        return AnswerBatch(function(self.tokens), function(self.mask), function(self.weights))


class Batch:
    """Rows of a dataset, by column; columns that the data does not have are missing.

    `"text" in batch` tells whether a column is there, `batch["text"]` and `batch.text` give it.

    Args:
        index: (B,) int64, the rows' places in their dataset.
        occurrence: (B,) int64, how often a row came before in the step's batch (of all processes); None where
            no row comes twice.
        num_source: the first so many rows are of the source domain, the rest of the target; None where the
            batch was not drawn by domain.
        columns: by name, as their kinds collate them: a tensor (B, ...), a list of B, tokens (`TokenBatch`,
            `AnswerBatch`).
    """

    image: Tensor
    """(B, 3, S, S) uint8 in [0, 255], upright, RGB."""
    image_2: Tensor
    """The same of a pair's second image."""
    audio: Tensor
    """(B, L) int16 sounds, mono, full scale at 32,767."""
    text: TokenBatch
    """One text a row."""
    text_2: TokenBatch
    """The second text of a pair."""
    text_3: TokenBatch
    """The third text, the negative of a triplet."""
    answer: AnswerBatch
    """All answers of a row, with weights."""
    group: Tensor
    """(B,) int64; equal numbers mean the same thing (captions of one image): never negatives."""
    label: Tensor
    """(B,) int64, -1 where a row has none."""
    domain: Tensor
    """(B,) int64; the domains of the source come first."""
    score: Tensor
    """(B,) float32, NaN where a row has none."""

    def __init__(
        self,
        *,
        index: Tensor,
        occurrence: Tensor | None = None,
        num_source: int | None = None,
        **columns: Any,
    ) -> None:
        self.index, self.occurrence, self.num_source = index, occurrence, num_source
        self.columns = {name: column for name, column in columns.items() if column is not None}

    def __len__(self) -> int:
        return int(self.index.shape[0])

    def with_columns(self, **columns: Any) -> Batch:
        """The same rows with some columns added or replaced."""
        columns = self.columns | columns
        return Batch(index=self.index, occurrence=self.occurrence, num_source=self.num_source, **columns)

    @property
    def source(self) -> Batch:
        """The rows of the source domain. Raises DataError where the batch was not drawn by domain."""
        return self.rows(0, self._num_source())

    @property
    def target(self) -> Batch:
        """The rows of the target domain; as `source`."""
        return self.rows(self._num_source(), len(self))

    def _num_source(self) -> int:
        if self.num_source is None:
            raise DataError("this batch was not drawn by domain; use --training.order domains.")
        return self.num_source

    def __contains__(self, name: object) -> bool:
        return name in self.columns

    def __getattr__(self, name: str) -> Any:
        if name == "columns" or name.startswith("_"):  # as copying and pickling ask for
            raise AttributeError(name)
        return self[name]

    def __getitem__(self, name: str) -> Any:
        """A column. Raises DataError where the batch has none of that name."""
        if name not in self.columns:
            there = ", ".join(self.columns) or "none"
            raise DataError(f"this batch has no column {name} (columns: {there}); declare it in `needs`.")
        return self.columns[name]

    @property
    def key(self) -> Tensor:
        """(B,) int64 that random draws are keyed by: the row's place, and another number each time it comes
        again, so that it has other views, another caption and other masked tokens than its first copy."""
        return self.index if self.occurrence is None else self.index + self.occurrence * _NEXT_OCCURRENCE

    def to(self, device: torch.device | str) -> Batch:
        """The same batch on another device; to CUDA from pinned memory the copy does not wait."""
        # Elsewhere nothing waits for such a copy before the memory is used again.
        ahead = torch.device(device).type == "cuda"
        return self._map(lambda tensor: tensor.to(device, non_blocking=ahead))

    def pin_memory(self) -> Batch:
        """The same batch in page-locked memory, for copies that overlap with computation."""
        return self._map(lambda tensor: tensor.pin_memory())

    def rows(self, start: int, stop: int) -> Batch:
        """The rows `start:stop`; tensors as views (no copy)."""
        made = self._map(lambda tensor: tensor[start:stop], lambda values: values[start:stop])
        if self.num_source is not None:
            made.num_source = min(max(self.num_source - start, 0), len(made))
        return made

    def _map(
        self, of_tensor: Callable[[Tensor], Tensor], of_list: Callable[[Any], Any] = lambda x: x
    ) -> Batch:
        def mapped(value: Any) -> Any:
            if isinstance(value, (TokenBatch, AnswerBatch)):
                return value.map(of_tensor)
            return of_tensor(value) if isinstance(value, Tensor) else of_list(value)

        occurrence = None if self.occurrence is None else of_tensor(self.occurrence)
        columns = {name: mapped(value) for name, value in self.columns.items()}
        return Batch(
            index=of_tensor(self.index), occurrence=occurrence, num_source=self.num_source, **columns
        )
