"""Rows of an index that are the same, or nearly: by their bytes, their looks and their vectors."""

from __future__ import annotations

import io
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from likewise.data.images.duplicates import difference_hashes, exact_duplicates, near_duplicates
from likewise.errors import ConfigError
from likewise.search.index import Index

__all__ = ["KINDS", "Group", "Sameness", "duplicate_groups"]

Sameness = Literal["exact", "near", "similar"]
KINDS: tuple[Sameness, ...] = ("exact", "near", "similar")
"""Equal bytes; thumbnails that look nearly the same; vectors that nearly agree. The first one counts."""

_SIDE = 64  # of the squares that are compared
_LEAST_COSINE = 0.97
_MOST_ROWS = 100_000  # whose vectors are compared pair by pair
_BLOCK = 1024


@dataclass(frozen=True)
class Group:
    """Rows that are one thing.

    Attributes:
        rows: at least two row numbers, in order.
        kinds: in what way each of the others is like an earlier one of them; of the first "first".
    """

    rows: list[int]
    kinds: list[str]


def duplicate_groups(
    index: Index,
    rows: Sequence[int] | NDArray[np.int64] | None = None,
    *,
    kinds: Collection[Sameness] = KINDS,
    min_cosine: float | None = None,
) -> list[Group]:
    """Groups of duplicates, by their first row.

    Args:
        index: to look into.
        rows: only among these; all when None.
        kinds: what counts as the same.
        min_cosine: of "similar" rows; when None 0.97, or what random pairs of this model hardly reach if that
            is higher.

    Raises:
        ConfigError: there are too many rows to compare all vectors.
    """
    numbers = np.arange(index.size) if rows is None else np.unique(np.asarray(rows, np.int64))
    links: list[tuple[str, NDArray[np.int64]]] = []
    if "exact" in kinds:
        contents = index.table["content"].take(numbers).to_numpy()
        links.append(("exact", _links(exact_duplicates(contents))))
    if "near" in kinds and index.manifest.what == "images":
        links.append(("near", _links(_looks(index, numbers))))
    if "similar" in kinds:
        links.append(("similar", _similar(index, numbers, min_cosine or least_cosine(index))))
    return _grouped(numbers, links)


def least_cosine(index: Index) -> float:
    """The cosine from which rows count as similar."""
    quantiles = index.manifest.calibration.get("image") if index.manifest.what == "images" else None
    return max(_LEAST_COSINE, min(quantiles[-1], 0.9999) if quantiles else 0.0)


def _links(groups: Sequence[Sequence[int]]) -> NDArray[np.int64]:
    """(2, L): the first of each group, and each other of it."""
    pairs = [(group[0], other) for group in groups for other in group[1:]]
    links: NDArray[np.int64] = np.array(pairs, np.int64).reshape(-1, 2).T
    return links


def _looks(index: Index, numbers: NDArray[np.int64]) -> list[list[int]]:
    """Groups of places in `numbers` whose thumbnails look nearly the same."""
    there = [place for place, row in enumerate(numbers.tolist()) if index.thumbnail(row) is not None]

    def squares(places: NDArray[np.int64]) -> torch.Tensor:
        images = [_square(index.thumbnail(int(numbers[there[place]])) or b"") for place in places.tolist()]
        return torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2)

    groups = near_duplicates(*difference_hashes(squares, len(there)))
    return [[there[place] for place in group] for group in groups]


def _square(thumbnail: bytes) -> NDArray[np.uint8]:
    with Image.open(io.BytesIO(thumbnail)) as image:
        image.draft("RGB", (_SIDE, _SIDE))
        return np.asarray(image.convert("RGB").resize((_SIDE, _SIDE), Image.Resampling.BOX))


def _similar(index: Index, numbers: NDArray[np.int64], min_cosine: float) -> NDArray[np.int64]:
    """(2, L) places in `numbers` whose vectors have at least this cosine."""
    if len(numbers) > _MOST_ROWS:
        raise ConfigError(
            f"the vectors of {len(numbers):,} rows are too many to compare each with each (at most "
            f"{_MOST_ROWS:,}); add --kinds exact near."
        )
    vectors = np.asarray(index.vectors[numbers], np.float32)
    pairs = [np.zeros((2, 0), np.int64)]
    for start in range(0, len(vectors), _BLOCK):
        cosines = vectors[start : start + _BLOCK] @ vectors[start:].T  # (b, N - start)
        left, right = np.nonzero(cosines >= min_cosine)
        later = right > left
        pairs.append(np.stack([left[later], right[later]]) + start)
    return np.concatenate(pairs, axis=1)


def _grouped(numbers: NDArray[np.int64], links: Sequence[tuple[str, NDArray[np.int64]]]) -> list[Group]:
    left, right = np.concatenate([np.zeros((2, 0), np.int64), *(pairs for _, pairs in links)], axis=1)
    count = len(numbers)
    if not len(left):
        return []
    component = connected_components(
        coo_matrix((np.ones(len(left), bool), (left, right)), shape=(count, count)), directed=False
    )[1]
    kinds: dict[int, str] = {}
    for kind, (_, others) in links:
        for other in others.tolist():
            kinds.setdefault(other, kind)
    members: dict[int, list[int]] = {}
    for place in np.flatnonzero(np.bincount(component)[component] > 1).tolist():
        members.setdefault(int(component[place]), []).append(place)
    return [
        Group(
            [int(numbers[place]) for place in group],
            ["first" if place == group[0] else kinds.get(place, "similar") for place in group],
        )
        for group in members.values()
    ]
