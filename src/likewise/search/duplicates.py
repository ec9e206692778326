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
_LEAST_COSINE, _LEAST_CORRELATION = 0.97, 0.8
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
        min_cosine: "similar" are rows of at least this cosine. When None: of at least 0.97, or what random
            pairs of this model hardly reach if that is higher, whose images also look roughly alike, perhaps
            mirrored. (Among millions of pairs some of different images have such a cosine.)

    Raises:
        ConfigError: there are too many rows to compare all vectors.
    """
    numbers = np.arange(index.size) if rows is None else np.unique(np.asarray(rows, np.int64))
    links: list[tuple[str, NDArray[np.int64]]] = []
    if "exact" in kinds:
        contents = index.table["content"].take(numbers).to_numpy()
        links.append(("exact", _links(exact_duplicates(contents))))
    there, hashes, greys = _looks(index, numbers if {"near", "similar"} & set(kinds) else numbers[:0])
    if "near" in kinds:
        groups = near_duplicates(hashes, greys)
        links.append(("near", _links([[int(there[place]) for place in group] for group in groups])))
    if "similar" in kinds:
        pairs = _similar(index, numbers, least_cosine(index) if min_cosine is None else min_cosine)
        if min_cosine is None and len(there):
            pairs = pairs[:, _alike(pairs, there, greys)]
        links.append(("similar", _to_leaders(pairs)))
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


def _looks(
    index: Index, numbers: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.uint64], NDArray[np.float32]]:
    """The places in `numbers` that have a thumbnail (T,), with its difference hash (T,) and the brightness of
    its 16 x 16 cells (T, 256)."""
    there = [place for place, row in enumerate(numbers.tolist()) if index.thumbnail(row) is not None]

    def squares(places: NDArray[np.int64]) -> torch.Tensor:
        images = [_square(index.thumbnail(int(numbers[there[place]])) or b"") for place in places.tolist()]
        return torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2)

    return np.asarray(there, np.int64), *difference_hashes(squares, len(there))


def _alike(
    pairs: NDArray[np.int64], there: NDArray[np.int64], greys: NDArray[np.float32]
) -> NDArray[np.bool_]:
    """(L,) whether two rows' cells of brightness correlate, as they are or mirrored."""
    count = int(max(there.max(initial=-1), pairs.max(initial=-1))) + 1
    cells = np.zeros((count, 16, 16), np.float32)  # those of rows without a thumbnail are like nothing
    centered = greys - greys.mean(axis=1, keepdims=True)
    lengths = np.maximum(np.linalg.norm(centered, axis=1, keepdims=True), 1e-6)
    cells[there] = (centered / lengths).reshape(-1, 16, 16)
    left, right = pairs
    found = np.zeros(len(left), bool)
    for start in range(0, len(left), _BLOCK):
        piece = slice(start, start + _BLOCK)
        first, second = cells[left[piece]], cells[right[piece]]
        straight = (first * second).sum(axis=(1, 2))
        mirrored = (first * second[:, :, ::-1]).sum(axis=(1, 2))
        found[piece] = np.maximum(straight, mirrored) >= _LEAST_CORRELATION
    return found


def _to_leaders(pairs: NDArray[np.int64]) -> NDArray[np.int64]:
    """Links of each row to the first that it is similar to, unless that one follows another itself.

    So a chain of small steps makes no group.
    """
    follows: dict[int, int] = {}
    for left, right in pairs[:, np.lexsort((pairs[1], pairs[0]))].T.tolist():
        if left not in follows:
            follows.setdefault(right, left)
    links = np.array([(left, right) for right, left in follows.items()], np.int64)
    return np.asarray(links.reshape(-1, 2).T)


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
