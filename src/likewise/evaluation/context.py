"""A model's embeddings of the parts of a data set, made when a task asks for them.

N held-out items, M their captions, D width of the embedding.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Literal

import numpy as np

from likewise.errors import AbilityError, DataError
from likewise.metrics.relevance import ids_of_texts

if TYPE_CHECKING:
    from likewise.data import Dataset, Splits
    from likewise.model.model import Model

__all__ = ["Embedded", "Episodes"]

# Neighbours and the probe learn from at most so many labelled training rows.
_MAX_TRAIN_ROWS = 50_000


@dataclass(frozen=True, kw_only=True)
class Episodes:
    """What few-shot episodes are made of."""

    num_ways: int | None = None
    """Classes of an episode; as many as the data has, at most 20, when None."""
    num_shots: int = 1
    """Examples of each."""
    num_episodes: int = 1000
    """Episodes drawn."""


class Embedded:
    """A model's embeddings of the held-out part (and of the training part, where a task asks), each made
    once.

    Args:
        model: encodes.
        splits: the data; the held-out part is `splits.validation`.
        templates: prompts of zero-shot classification: a set's name, or sentences with one `{}` each.
        episodes: what few-shot episodes are made of; the plain ones when None.
        rerank: candidates of each query that the model judges again in retrieval; None for none.
        rerank_by: the order of those: by the match's odds and the cosine together, or by the odds alone.
        max_rows: most held-out rows looked at; None for all.
        max_train_rows: most training rows learnt from.

    Raises:
        DataError: there is no held-out part.
        AbilityError: candidates are to be judged again by a model that cannot.
        ValueError: no such order.
    """

    def __init__(
        self,
        model: Model,
        splits: Splits,
        *,
        templates: str | list[str] = "photo",
        episodes: Episodes | None = None,
        rerank: int | None = None,
        rerank_by: Literal["both", "match"] = "both",
        max_rows: int | None = None,
        max_train_rows: int = _MAX_TRAIN_ROWS,
    ) -> None:
        if rerank_by not in ("both", "match"):
            raise ValueError(f"rerank_by must be 'both' or 'match', got {rerank_by!r}")
        if splits.validation is None:
            raise DataError(
                "there is no held-out part to measure on; see --data.validation and --data.validation-share."
            )
        if rerank is not None and "match" not in model.abilities:  # before anything is encoded
            raise AbilityError(
                f"re-ranking judges pairs of a picture and a text, and this model ({model.config['method']}) "
                "cannot; leave --rerank out, or train one of the method tcl."
            )
        self.model = model
        self.train = _first_rows(splits.train, max_train_rows)
        self.held_out = _first_rows(splits.validation, max_rows)
        self.splits = replace(splits, train=self.train, validation=self.held_out)
        self.templates = templates
        self.rerank = rerank
        self.rerank_by = rerank_by
        self.episodes = Episodes() if episodes is None else episodes

    @cached_property
    def images(self) -> np.ndarray:
        """(N, D) of the held-out pictures."""
        return self.model.encode_dataset_images(self.held_out)

    @cached_property
    def judge(self) -> Callable[[np.ndarray, np.ndarray], np.ndarray]:
        """Scores pairs of a held-out picture and a caption; the model must be able to match."""
        judge = self.model.judge_dataset(self.held_out, self.captions)
        return judge if self.rerank_by == "match" else judge.posterior

    @cached_property
    def train_images(self) -> np.ndarray:
        """(rows, D) of the training pictures."""
        return self.model.encode_dataset_images(self.train)

    @cached_property
    def captions(self) -> list[str]:
        """All M captions of the held-out part, row by row."""
        return [text for row in self.held_out.texts or [] for text in row]

    @cached_property
    def caption_rows(self) -> np.ndarray:
        """(M,) int64: which row each caption is of."""
        return np.repeat(np.arange(len(self.held_out)), [len(row) for row in self.held_out.texts or []])

    @cached_property
    def caption_ids(self) -> np.ndarray:
        """(M,) int64, equal for equal captions, whichever row they are of."""
        return ids_of_texts(self.captions)

    @cached_property
    def texts(self) -> np.ndarray:
        """(M, D) of the held-out captions."""
        return self.model.encode_texts(self.captions)


def _first_rows(dataset: Dataset, count: int | None) -> Dataset:
    if count is None or count >= len(dataset):
        return dataset
    # Spread over the whole part: sources are often sorted by class.
    return dataset.subset(np.linspace(0, len(dataset) - 1, count).astype(np.int64))
