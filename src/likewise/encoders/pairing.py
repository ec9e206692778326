"""Which image each text is fused with. Dimensions: P pairs (texts), M images, R images of a round, L
tokens."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

__all__ = ["Pairing", "Take"]

Take = Callable[[Tensor], Tensor]
"""Selects or rearranges rows by copying."""


@dataclass(frozen=True)
class Pairing:
    """Which image each of P texts is fused with; by default the first with the first, and so on.

    An image has far more tokens than a text, so its keys and values are computed once for all its texts.
    Texts
    in rounds need no copies of them either: the attention sees the texts of one image as one longer text.

    Attributes:
        rounds: all texts but the last Q pass over the images, in order, this many times.
        others: (Q,) rows of the images of the last Q texts.
    """

    rounds: int = 1
    others: Tensor | None = None

    def sizes(self, num_texts: int) -> tuple[int, int]:
        """R, the images of a round, and the number of texts in rounds."""
        end = num_texts - (0 if self.others is None else len(self.others))
        return end // max(self.rounds, 1), end

    def images(self, num_texts: int, device: torch.device) -> Tensor:
        """(P,) rows of the texts' images."""
        R, end = self.sizes(num_texts)
        rows = torch.arange(end, device=device) % max(R, 1)
        return rows if self.others is None else torch.cat([rows, self.others])

    def groups(self, num_texts: int) -> Iterator[tuple[Take, slice | Tensor]]:
        """The texts in rounds, then the others, where there are any.

        Yields:
            A function that takes the group's texts from (P, L, ...) rows, as (R, rounds L, ...) or (Q, L,
            ...); and the rows of their images.
        """
        R, end = self.sizes(num_texts)
        if end:
            yield partial(self._by_image, R, end), slice(0, R)
        if self.others is not None and end < num_texts:
            yield (lambda rows: rows[end:]), self.others

    def _by_image(self, R: int, end: int, rows: Tensor) -> Tensor:
        return rows[:end].view(self.rounds, R, *rows.shape[1:]).transpose(0, 1).flatten(1, 2)

    def ungroup(self, groups: list[Tensor], length: int) -> Tensor:
        """The inverse: results of the groups, as (P, L, ...)."""
        rows = [
            group.reshape(len(group), -1, length, *group.shape[2:]).transpose(0, 1).flatten(0, 1)
            for group in groups
        ]
        return rows[0] if len(rows) == 1 else torch.cat(rows)
