"""What a reader can check by eye: nearest neighbours, best and worst retrievals.

N images, M texts, K results shown.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from likewise.metrics.inputs import Array
from likewise.metrics.neighbours import nearest
from likewise.metrics.relevance import Relevance, ids_of_texts, images_and_texts
from likewise.metrics.retrieval import first_ranks
from likewise.reporting.inputs import ReportInputs
from likewise.reporting.pictures import picture_uri

__all__ = [
    "Tile",
    "Row",
    "neighbour_rows",
    "text_neighbour_rows",
    "text_to_image_rows",
    "image_to_text_rows",
    "image_text",
]


@dataclass(frozen=True)
class Tile:
    """One picture or text of a gallery."""

    text: str
    """The caption, or the name of the class; what a picture shows, for those who don't see it."""
    uri: str | None = None
    """The picture, None for a text."""
    right: bool | None = None
    """Whether it is a right answer; None when that is not known, or for the query itself."""
    similarity: float | None = None
    """Cosine to the query."""


@dataclass(frozen=True)
class Row:
    """A query with its answers."""

    query: Tile
    answers: list[Tile]
    rank: int | None = None
    """Rank of the first right answer, None when ranks make no sense here."""
    wanted: Tile | None = None
    """The right answer, where none of the answers shown is right."""


def neighbour_rows(inputs: ReportInputs, *, num_queries: int = 8, k: int = 5) -> list[Row]:
    """Images and the images nearest to them; right where the class, or else the group, is the same.

    Queries go through the classes in turn; without classes they are evenly spaced, among those that share
    their group where any do.
    """
    assert inputs.image_embeddings is not None
    kinds = _kinds(inputs)
    rows = []
    for query in _queries(inputs, num_queries).tolist():
        answers = []
        for similarity, other in _neighbours(inputs.image_embeddings, query, k):
            known = kinds is not None and kinds[query] >= 0 and kinds[other] >= 0
            right = bool(kinds[query] == kinds[other]) if kinds is not None and known else None
            answers.append(_image_tile(inputs, other, right, similarity))
        rows.append(Row(_image_tile(inputs, query), answers))
    return rows


def text_neighbour_rows(inputs: ReportInputs, *, num_queries: int = 6, k: int = 4) -> list[Row]:
    """Texts and the texts nearest to them, for models of text alone; right where the group is the same."""
    assert inputs.text_embeddings is not None
    assert inputs.captions is not None
    groups = inputs.text_groups
    if groups is not None and len(np.unique(groups)) == len(groups):
        groups = None  # every group is alone: there is no right neighbour to find
    rows = []
    for query in _spaced(len(inputs.captions), num_queries).tolist():
        answers = [
            Tile(
                inputs.captions[other],
                right=None if groups is None else bool(groups[query] == groups[other]),
                similarity=similarity,
            )
            for similarity, other in _neighbours(inputs.text_embeddings, query, k)
        ]
        rows.append(Row(Tile(inputs.captions[query]), answers))
    return rows


def _neighbours(embeddings: Array, query: int, k: int) -> list[tuple[float, int]]:
    """Cosine and place of the K rows nearest to one of them, itself left out."""
    similarities, indices = _first(embeddings, embeddings, query, k + 1)
    others = [pair for pair in zip(similarities, indices, strict=True) if pair[1] != query]
    return others[:k]


def text_to_image_rows(inputs: ReportInputs, *, count: int = 4, k: int = 3) -> tuple[list[Row], list[Row]]:
    """Captions whose image was found best, and worst, with the first K images."""
    return _retrieval_rows(_text_side(inputs), _image_side(inputs), _belonging(inputs)[1], count, k)


def image_to_text_rows(inputs: ReportInputs, *, count: int = 4, k: int = 3) -> tuple[list[Row], list[Row]]:
    """Images whose caption was found best, and worst, with the first K captions."""
    return _retrieval_rows(_image_side(inputs), _text_side(inputs), _belonging(inputs)[0], count, k)


def _belonging(inputs: ReportInputs) -> tuple[Relevance, Relevance]:
    """What is right for images and for captions, of which equal ones are right alike."""
    groups, captions = inputs.groups_of_texts(), inputs.captions
    assert groups is not None
    assert captions is not None
    return images_and_texts(inputs.groups_of_images(), groups, ids_of_texts(captions))


@dataclass(frozen=True)
class _Side:
    """One modality: what is asked, or what is searched."""

    embeddings: NDArray[np.float32]
    groups: NDArray[np.int64]
    tile: Callable[[int, bool | None, float | None], Tile]


def _image_side(inputs: ReportInputs) -> _Side:
    assert inputs.image_embeddings is not None
    return _Side(
        inputs.image_embeddings, inputs.groups_of_images(), lambda *given: _image_tile(inputs, *given)
    )


def _text_side(inputs: ReportInputs) -> _Side:
    groups, captions = inputs.groups_of_texts(), inputs.captions
    assert inputs.text_embeddings is not None
    assert groups is not None
    assert captions is not None
    return _Side(
        inputs.text_embeddings,
        groups,
        lambda index, right, similarity: Tile(captions[index], None, right, similarity),
    )


def _retrieval_rows(
    asked: _Side, searched: _Side, belonging: Relevance, count: int, k: int
) -> tuple[list[Row], list[Row]]:
    """The best and the worst queries.

    Best are those of rank 1 whose right answer lies farthest above the first wrong one, worst those of the
    greatest rank. No two of a list belong to the same group, so that one bad photo does not fill it with its
    captions.
    """
    ranks = first_ranks(asked.embeddings, searched.embeddings, belonging).cpu().numpy()
    fitting = belonging.rows(0, len(ranks)).numpy()  # (Q, P)
    near = nearest(asked.embeddings, searched.embeddings, 10)
    similarities, indices = near.similarities.cpu().numpy(), near.indices.cpu().numpy()  # (Q, 10)
    wrong = ~np.take_along_axis(fitting, indices, axis=1)
    first_wrong = np.where(wrong.any(axis=1), wrong.argmax(axis=1), wrong.shape[1] - 1)
    margin = similarities[:, 0] - similarities[np.arange(len(ranks)), first_wrong]
    best = [int(query) for query in np.argsort(-margin, kind="stable") if ranks[query] == 1]
    worst = [int(query) for query in np.argsort(-ranks, kind="stable") if ranks[query] > 1]

    def row(query: int) -> Row:
        answers = [
            searched.tile(int(other), bool(fitting[query, other]), float(similarity))
            for similarity, other in zip(similarities[query, :k], indices[query, :k], strict=True)
        ]
        wanted = None
        if not any(answer.right for answer in answers):
            right = np.flatnonzero(fitting[query])
            cosines = _cosines(asked.embeddings[query], searched.embeddings[right])
            wanted = searched.tile(int(right[cosines.argmax()]), None, float(cosines.max()))
        return Row(asked.tile(query, None, None), answers, int(ranks[query]), wanted)

    return (
        [row(query) for query in _distinct(best, asked.groups, count)],
        [row(query) for query in _distinct(worst, asked.groups, count)],
    )


def _cosines(query: NDArray[np.float32], rows: NDArray[np.float32]) -> NDArray[np.float32]:
    lengths = np.linalg.norm(rows, axis=1) * np.linalg.norm(query)
    return np.asarray(rows @ query / np.maximum(lengths, 1e-12), dtype=np.float32)


def _first(queries: Array, candidates: Array, query: int, k: int) -> tuple[list[float], list[int]]:
    """Cosines and places of the K candidates nearest to one query."""
    found = nearest(queries[query : query + 1], candidates, k)
    return found.similarities[0].tolist(), found.indices[0].tolist()


def _distinct(order: Sequence[int], groups: NDArray[np.int64], count: int) -> list[int]:
    """The first `count` of `order` with groups that differ."""
    taken: dict[int, int] = {}
    for query in order:
        taken.setdefault(int(groups[query]), query)
        if len(taken) == count:
            break
    return list(taken.values())


def _kinds(inputs: ReportInputs) -> NDArray[np.int64] | None:
    """(N,) numbers that tell a right neighbour from a wrong one; None when nothing tells."""
    if inputs.has_labels():
        return np.asarray(inputs.labels)
    groups = inputs.groups_of_images()
    # when every group is alone there is no right neighbour to find
    return groups if len(np.unique(groups)) < len(groups) else None


def _queries(inputs: ReportInputs, count: int) -> NDArray[np.int64]:
    """Images to look at: of each class the first, then the second, ...; without labels evenly spaced."""
    if not inputs.has_labels() or inputs.labels is None:
        groups = inputs.groups_of_images()
        _, place, members = np.unique(groups, return_inverse=True, return_counts=True)
        shared = np.flatnonzero(members[place] > 1)
        rows = shared if len(shared) else np.arange(len(groups))
        return rows[_spaced(len(rows), count)]
    labels = np.asarray(inputs.labels)
    turn = np.zeros(len(labels), dtype=np.int64)
    for label in np.unique(labels[labels >= 0]):
        rows = np.flatnonzero(labels == label)
        turn[rows] = np.arange(len(rows))
    known = np.flatnonzero(labels >= 0)
    return known[np.lexsort((labels[known], turn[known]))][:count]


def _spaced(total: int, count: int) -> NDArray[np.int64]:
    return np.unique(np.linspace(0, total - 1, min(count, total)).astype(np.int64))


def _image_tile(
    inputs: ReportInputs, index: int, right: bool | None = None, similarity: float | None = None
) -> Tile:
    uri = None if inputs.thumbnails is None else picture_uri(inputs.thumbnails[index])
    return Tile(image_text(inputs, index), uri, right, similarity)


def image_text(inputs: ReportInputs, index: int) -> str:
    """What an image is, in words: its class, else its first caption, else its number."""
    if inputs.has_labels() and inputs.labels is not None:
        return inputs.label_name(int(inputs.labels[index]))
    image_of_text = inputs.image_of_text()
    if inputs.captions is not None and image_of_text is not None:
        own = np.flatnonzero(image_of_text == index)
        if len(own):
            return inputs.captions[int(own[0])]
    return f"image {index}"
