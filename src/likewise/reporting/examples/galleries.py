"""Examples to check by eye: nearest neighbours, best and worst retrievals.

N images, M texts, Q queries, P candidates, K results shown.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from likewise.metrics.neighbours import nearest
from likewise.metrics.relevance import Relevance, ids_of_texts, images_and_texts
from likewise.metrics.retrieval import first_ranks
from likewise.reporting.examples.sounds import player_uri
from likewise.reporting.inputs import ReportInputs

__all__ = [
    "Row",
    "Tile",
    "find_neighbours",
    "find_retrievals",
    "image_tile",
    "image_to_text_rows",
    "image_uri",
    "neighbour_rows",
    "text_to_image_rows",
]

_LONGEST_SIDE = 160


@dataclass(frozen=True)
class Tile:
    """One image or text of a gallery."""

    text: str
    """The caption, or the name of the class."""
    uri: str | None = None
    """The image as a data URI, None for a text."""
    right: bool | None = None
    """Whether it is a right answer; None where unknown, and for the query itself."""
    similarity: float | None = None
    """Cosine to the query."""
    player: str | None = None
    """The sound as a data URI, of a sound or of an image that has one; of a sound alone the image is its
    spectrogram."""


@dataclass(frozen=True)
class Row:
    """A query with its answers."""

    query: Tile
    answers: list[Tile]
    rank: int | None = None
    """Rank of the first right answer; None for neighbours."""
    wanted: Tile | None = None
    """The best right answer, where no answer shown is right."""


def image_uri(pixels: NDArray[np.uint8]) -> str:
    """A (3, S, S) RGB image as a data URI, made smaller where S is above 160."""
    image = Image.fromarray(np.ascontiguousarray(np.moveaxis(pixels, 0, -1)))
    image.thumbnail((_LONGEST_SIDE, _LONGEST_SIDE))
    buffer = io.BytesIO()
    # No chroma subsampling: at this size it shows on drawings.
    image.save(buffer, format="JPEG", quality=85, subsampling=0)
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")


def image_tile(
    inputs: ReportInputs, row: int, right: bool | None = None, similarity: float | None = None
) -> Tile:
    """The tile of an image; without its image where there are no thumbnails."""
    uri = None if inputs.thumbnails is None else image_uri(inputs.thumbnails[row])
    player = None if inputs.sounds is None else player_uri(inputs.sounds[row], inputs.sound_rate)
    return Tile(inputs.image_name(row), uri, right, similarity, player)


def find_neighbours(inputs: ReportInputs) -> dict[str, Any]:
    """Rows of nearest neighbours, of images, or of texts where there are no images.

    Raises:
        ValueError: fewer than two items, or no thumbnails.
    """
    if inputs.image_embeddings is not None:
        inputs.shown_thumbnails()
        if inputs.num_images < 2:
            raise ValueError("A single image has no neighbours.")
        kind = "class" if inputs.has_labels else "group"
        basis = "" if _kinds(inputs) is None else f"Right means of the same {kind}."
        return {"rows": neighbour_rows(inputs), "images": True, "basis": basis}
    if inputs.text_embeddings is None or inputs.captions is None or len(inputs.captions) < 2:
        raise ValueError("No embeddings were given, or of a single item.")
    return {"rows": _text_neighbour_rows(inputs), "images": False}


def neighbour_rows(inputs: ReportInputs, *, num_queries: int = 8, k: int = 5) -> list[Row]:
    """Images with their nearest images; right where the class, or else the group, is the same.

    Queries go through the classes in turn; without classes they are evenly spaced, among those that share
    their group where any do.
    """
    assert inputs.image_embeddings is not None
    return _neighbour_rows(
        inputs.image_embeddings,
        _queries(inputs, num_queries),
        _kinds(inputs),
        lambda *given: image_tile(inputs, *given),
        k,
    )


def _text_neighbour_rows(inputs: ReportInputs, *, num_queries: int = 6, k: int = 4) -> list[Row]:
    """Texts with their nearest texts; right where the group is the same."""
    assert inputs.text_embeddings is not None
    queries = _spaced(inputs.num_texts, num_queries)
    kinds = None if inputs.text_groups is None else _if_shared(inputs.text_groups)
    if kinds is not None and inputs.captions is not None:
        different = set(zip(kinds.tolist(), inputs.captions, strict=True))
        kinds = kinds if len(different) > len(np.unique(kinds)) else None  # None where only copies share one
    return _neighbour_rows(inputs.text_embeddings, queries, kinds, _text_tiles(inputs), k)


_MakeTile = Callable[[int, bool | None, float | None], Tile]


def _neighbour_rows(
    embeddings: NDArray[np.float32],
    queries: NDArray[np.int64],
    kinds: NDArray[np.int64] | None,
    tile: _MakeTile,
    k: int,
) -> list[Row]:
    """Queries with the K nearest of the other items; right where the kind is the same and known."""
    found = nearest(embeddings[queries], embeddings, k + 1)  # itself among them
    rows = []
    for query, similarities, others in zip(
        queries.tolist(), found.similarities.tolist(), found.indices.tolist(), strict=True
    ):
        answers = []
        for similarity, other in zip(similarities, others, strict=True):
            known = kinds is not None and kinds[query] >= 0 and kinds[other] >= 0
            right = bool(kinds[query] == kinds[other]) if kinds is not None and known else None
            if other != query:
                answers.append(tile(other, right, similarity))
        rows.append(Row(tile(query, None, None), answers[:k]))
    return rows


def find_retrievals(inputs: ReportInputs) -> dict[str, Any]:
    """The best and the worst retrievals in both directions; by sounds in place of texts where the model
    embeds both.

    Raises:
        ValueError: no images, or no captions or sounds, or it is unknown which belong together.
    """
    return {
        "from_text": text_to_image_rows(inputs),
        "from_image": image_to_text_rows(inputs),
        "num_images": inputs.num_images,
        "num_texts": inputs.num_texts if inputs.sound_embeddings is None else len(inputs.sound_embeddings),
        "words": ("text", "caption") if inputs.sound_embeddings is None else ("sound", "sound"),
    }


def text_to_image_rows(inputs: ReportInputs, *, count: int = 4, k: int = 3) -> tuple[list[Row], list[Row]]:
    """Captions whose image ranks best, and worst, with the first K images."""
    images, texts = _sides(inputs)
    return _retrieval_rows(texts, images, count, k)


def image_to_text_rows(inputs: ReportInputs, *, count: int = 4, k: int = 3) -> tuple[list[Row], list[Row]]:
    """Images whose caption ranks best, and worst, with the first K captions."""
    images, texts = _sides(inputs)
    return _retrieval_rows(images, texts, count, k)


@dataclass(frozen=True)
class _Side:
    """One modality."""

    embeddings: NDArray[np.float32]
    groups: NDArray[np.int64]
    relevance: Relevance
    """Right answers of the other side; equal captions are right alike."""
    tile: _MakeTile


def _sides(inputs: ReportInputs) -> tuple[_Side, _Side]:
    """Images and texts, or images and sounds."""
    images, texts, captions = inputs.image_embeddings, inputs.text_embeddings, inputs.captions
    if images is not None and inputs.sound_embeddings is not None:
        inputs.shown_thumbnails()
        groups = inputs.groups_of_images()
        relevance, _ = images_and_texts(groups, groups, None)
        return (
            _Side(images, groups, relevance, lambda *given: image_tile(inputs, *given)),
            _Side(inputs.sound_embeddings, groups, relevance, lambda *given: _sound_tile(inputs, *given)),
        )
    if images is None or texts is None or captions is None:
        raise ValueError("It needs images and captions, and a model of both.")
    inputs.shown_thumbnails()
    image_groups, text_groups = inputs.groups_of_images(), inputs.groups_of_texts()
    if text_groups is None or not np.isin(text_groups, image_groups).any():
        raise ValueError("It is not known which caption belongs to which image.")
    of_images, of_texts = images_and_texts(image_groups, text_groups, ids_of_texts(captions))
    return (
        _Side(images, image_groups, of_images, lambda *given: image_tile(inputs, *given)),
        _Side(texts, text_groups, of_texts, _text_tiles(inputs)),
    )


def _sound_tile(inputs: ReportInputs, row: int, right: bool | None, similarity: float | None) -> Tile:
    """The tile of a sound beside images: a name and a player."""
    return replace(image_tile(inputs, row, right, similarity), uri=None)


def _text_tiles(inputs: ReportInputs) -> _MakeTile:
    captions = inputs.captions
    assert captions is not None
    return lambda row, right, similarity: Tile(captions[row], None, right, similarity)


def _retrieval_rows(queries: _Side, candidates: _Side, count: int, k: int) -> tuple[list[Row], list[Row]]:
    """The best and the worst queries.

    Best are those of rank 1 whose right answer lies farthest above the first wrong one, worst those of the
    largest rank. The queries of a list are of different groups, so that the captions of one bad photo do not
    fill it.
    """
    ranks = first_ranks(queries.embeddings, candidates.embeddings, queries.relevance).cpu().numpy()
    relevant = queries.relevance.rows(0, len(ranks)).numpy()  # (Q, P)
    near = nearest(queries.embeddings, candidates.embeddings, 10)
    similarities, indices = near.similarities.cpu().numpy(), near.indices.cpu().numpy()  # (Q, 10)
    wrong = ~np.take_along_axis(relevant, indices, axis=1)
    first_wrong = np.where(wrong.any(axis=1), wrong.argmax(axis=1), wrong.shape[1] - 1)
    margin = similarities[:, 0] - similarities[np.arange(len(ranks)), first_wrong]
    best, worst = (np.argsort(-score, kind="stable") for score in (margin, ranks))
    best, worst = best[ranks[best] == 1], worst[ranks[worst] > 1]

    def row(query: int) -> Row:
        answers = [
            candidates.tile(int(other), bool(relevant[query, other]), float(similarity))
            for similarity, other in zip(similarities[query, :k], indices[query, :k], strict=True)
        ]
        wanted = None
        if not any(answer.right for answer in answers):
            right = np.flatnonzero(relevant[query])
            top = nearest(queries.embeddings[query : query + 1], candidates.embeddings[right], 1)
            wanted = candidates.tile(int(right[int(top.indices)]), None, float(top.similarities))
        return Row(queries.tile(query, None, None), answers, int(ranks[query]), wanted)

    return (
        [row(query) for query in _distinct(best, queries.groups, count)],
        [row(query) for query in _distinct(worst, queries.groups, count)],
    )


def _distinct(order: NDArray[np.int64], groups: NDArray[np.int64], count: int) -> list[int]:
    """The first `count` of `order` whose groups differ."""
    first = np.unique(groups[order], return_index=True)[1]
    return [int(query) for query in order[np.sort(first)][:count]]


def _kinds(inputs: ReportInputs) -> NDArray[np.int64] | None:
    """(N,) classes or groups that make a neighbour right; None where neither is known."""
    return inputs.labels if inputs.has_labels else _if_shared(inputs.groups_of_images())


def _if_shared(groups: NDArray[np.int64]) -> NDArray[np.int64] | None:
    """The groups; None where each has one member, so that no neighbour is right."""
    return groups if len(np.unique(groups)) < len(groups) else None


def _queries(inputs: ReportInputs, count: int) -> NDArray[np.int64]:
    """Rows of images to show: the first of each class, then the second, ...; else evenly spaced."""
    labels = inputs.labels
    if labels is None or not inputs.has_labels:
        _, place, members = np.unique(inputs.groups_of_images(), return_inverse=True, return_counts=True)
        shared = np.flatnonzero(members[place] > 1)
        rows = shared if len(shared) else np.arange(inputs.num_images)
        return np.asarray(rows[_spaced(len(rows), count)])
    turn = np.zeros(len(labels), dtype=np.int64)
    for label in np.unique(labels[labels >= 0]):
        rows = np.flatnonzero(labels == label)
        turn[rows] = np.arange(len(rows))
    known = np.flatnonzero(labels >= 0)
    return known[np.lexsort((labels[known], turn[known]))][:count]


def _spaced(total: int, count: int) -> NDArray[np.int64]:
    return np.unique(np.linspace(0, total - 1, min(count, total)).astype(np.int64))
