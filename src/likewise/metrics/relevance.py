"""Which candidates are right answers to which queries.

N images, M texts, Q queries, P candidates.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from likewise.metrics.inputs import Array

__all__ = ["Relevance", "ids_of_texts", "images_and_texts"]


@dataclass(frozen=True)
class Relevance:
    """Queries and candidates, each with a key, and which keys belong together.

    Attributes:
        queries: (Q,) int64 keys of the queries.
        candidates: (P,) int64 keys of the candidates.
        relation: sparse matrix (query keys, candidate keys), true where they belong together; None where
            equal keys do.
    """

    queries: torch.Tensor
    candidates: torch.Tensor
    relation: Any = None

    def rows(self, start: int, stop: int) -> torch.Tensor:
        """(q, P) bool, which candidates are right for the queries from `start` to before `stop`."""
        keys = self.queries[start:stop]
        if self.relation is None:
            return keys[:, None] == self.candidates
        of_keys = torch.from_numpy(self.relation[keys.cpu().numpy()].toarray())  # (q, candidate keys)
        return of_keys.to(self.candidates.device)[:, self.candidates]

    def counts(self) -> NDArray[np.int64]:
        """(Q,) how many right answers each query has."""
        queries, candidates = self.queries.cpu().numpy(), self.candidates.cpu().numpy()
        if self.relation is None:
            keys, place = np.unique(np.concatenate([candidates, queries]), return_inverse=True)
            of_keys = np.bincount(place[: len(candidates)], minlength=len(keys))
            return np.asarray(of_keys[place[len(candidates) :]], dtype=np.int64)
        of_keys = np.bincount(candidates, minlength=self.relation.shape[1])
        return np.asarray((self.relation.astype(np.int64) @ of_keys)[queries], dtype=np.int64)


def ids_of_texts(texts: Sequence[str]) -> NDArray[np.int64]:
    """(M,) numbers, equal for texts that differ only in case and white space."""
    plain = [" ".join(text.casefold().split()) for text in texts]
    ids = np.unique(np.array(plain, dtype=object), return_inverse=True)[1]
    return np.asarray(ids, dtype=np.int64)


def images_and_texts(
    image_groups: Array, text_groups: Array, text_ids: Array | None
) -> tuple[Relevance, Relevance]:
    """Which texts are right for the images, and which images for the texts.

    Args:
        image_groups: (N,) integers.
        text_groups: (M,) integers; a text belongs to the images of its group.
        text_ids: (M,) integers, equal for equal texts: each is right wherever one of them is. None: texts are
            right for their own group only.

    Returns:
        For images as queries, and for texts as queries.
    """
    image_groups, text_groups = torch.as_tensor(image_groups), torch.as_tensor(text_groups)
    if text_ids is None:
        return Relevance(image_groups, text_groups), Relevance(text_groups, image_groups)
    from scipy.sparse import csr_matrix

    groups, place = torch.unique(torch.cat([image_groups, text_groups]), return_inverse=True)
    of_images, of_texts = place[: len(image_groups)], place[len(image_groups) :]
    texts, ids = torch.unique(torch.as_tensor(text_ids), return_inverse=True)
    pairs = (of_texts.cpu().numpy(), ids.cpu().numpy())  # each group with its texts
    relation = csr_matrix((np.ones(len(ids), dtype=bool), pairs), shape=(len(groups), len(texts)))
    return Relevance(of_images, ids, relation), Relevance(ids, of_images, relation.T.tocsr())
