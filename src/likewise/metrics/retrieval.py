"""Image and text retrieval in both directions, with any number of captions per image.

N images, M texts, Q queries, P candidates, D embedding width. A text and an image belong together when their
groups are equal: two captions of one photo are both right answers, and so is the caption of another scene in
the same group. A text that equals a right answer word for word can count as right too, in any group: no model
can tell the two apart.
"""

from __future__ import annotations

import torch

from likewise.metrics.chance import first_hit_chance
from likewise.metrics.inputs import Array, as_labels, as_unit_pair, rows_per_tile
from likewise.metrics.relevance import Relevance, images_and_texts

__all__ = ["retrieval", "first_ranks", "checked_pair", "ranks_in", "summarise_ranks", "RECALL_AT", "TIE"]

RECALL_AT = (1, 5, 10)

TIE = 1e-6
"""Cosines closer than this are tied: only float32 rounding separates them."""


def first_ranks(queries: Array, candidates: Array, relevance: Relevance) -> torch.Tensor:
    """Rank of each query's best right candidate: one more than the wrong ones at or above it.

    Ties count against the model: a wrong candidate that scores the same as the best right one goes first.
    So a collapsed model, which scores everything the same, comes last instead of first.

    Args:
        queries: (Q, D); scaled to unit length here.
        candidates: (P, D); scaled to unit length here.
        relevance: which candidates are right.

    Returns:
        (Q,) int64, from 1; 0 where no candidate is right.

    Raises:
        ValueError: shapes that don't fit, or values that are not finite.
    """
    return _ranks(*as_unit_pair(queries, candidates, ("queries", "candidates")), relevance)


def _ranks(queries: torch.Tensor, candidates: torch.Tensor, relevance: Relevance) -> torch.Tensor:
    """`first_ranks` for checked unit rows."""
    step = rows_per_tile(len(candidates))
    ranks = []
    for start in range(0, len(queries), step):
        similarity = queries[start : start + step] @ candidates.T  # (q, P)
        ranks.append(ranks_in(similarity, relevance.rows(start, start + step)))
    return torch.cat(ranks)


def ranks_in(similarity: torch.Tensor, right: torch.Tensor) -> torch.Tensor:
    """(q,) ranks as of `first_ranks`, from (q, P) similarities and which candidates are right."""
    best = similarity.masked_fill(~right, -torch.inf).amax(dim=1, keepdim=True)  # (q, 1)
    rank = 1 + ((similarity >= best - TIE) & ~right).sum(dim=1)
    return rank.where(right.any(dim=1), torch.zeros_like(rank))


def retrieval(
    image_embeddings: Array,
    text_embeddings: Array,
    image_groups: Array,
    text_groups: Array,
    *,
    text_ids: Array | None = None,
) -> dict[str, float]:
    """How well images find their texts, and texts their images, by cosine.

    Args:
        image_embeddings: (N, D).
        text_embeddings: (M, D).
        image_groups: (N,) integers.
        text_groups: (M,) integers; a text belongs to the images of its group.
        text_ids: (M,) integers, equal for equal texts: each is then right wherever one of them is.

    Returns:
        For each direction `image_to_text` and `text_to_image`: `_r1`, `_r5`, `_r10` (share of queries with a
        right answer among the first k), `_median_rank` (the lower middle one of an even number) and
        `_mean_reciprocal_rank`; the same keys behind `chance_` for a random order; `num_images` and
        `num_texts`, the queries counted: those with a right answer among the candidates.

    Raises:
        ValueError: shapes that don't fit, values that are not finite, or no image and text with equal groups.
    """
    images, texts, of_images, of_texts = checked_pair(
        image_embeddings, text_embeddings, image_groups, text_groups, text_ids
    )
    result: dict[str, float] = {}
    counts = []
    for name, queries, candidates, relevance in (
        ("image_to_text", images, texts, of_images),
        ("text_to_image", texts, images, of_texts),
    ):
        ranks = _ranks(queries, candidates, relevance)
        ranks = ranks[ranks > 0]
        if len(ranks) == 0:
            raise ValueError("no image and text have equal groups: there is nothing to retrieve")
        counts.append(len(ranks))
        result |= {f"{name}_{key}": value for key, value in summarise_ranks(ranks).items()}
        num_right = relevance.counts()
        chance = first_hit_chance(num_right[num_right > 0].tolist(), len(candidates), RECALL_AT)
        result |= {f"chance_{name}_{key}": value for key, value in chance.items()}
    return result | {"num_images": counts[0], "num_texts": counts[1]}


def checked_pair(
    image_embeddings: Array,
    text_embeddings: Array,
    image_groups: Array,
    text_groups: Array,
    text_ids: Array | None,
) -> tuple[torch.Tensor, torch.Tensor, Relevance, Relevance]:
    """Unit rows of images (N, D) and texts (M, D); what is right for images, and for texts, as queries."""
    images, texts = as_unit_pair(image_embeddings, text_embeddings, ("image_embeddings", "text_embeddings"))
    image_of = as_labels(image_groups, "image_groups", count=len(images), device=images.device)
    text_of = as_labels(text_groups, "text_groups", count=len(texts), device=texts.device)
    if text_ids is not None:
        text_ids = as_labels(text_ids, "text_ids", count=len(texts), device=texts.device)
    return images, texts, *images_and_texts(image_of, text_of, text_ids)


def summarise_ranks(ranks: torch.Tensor) -> dict[str, float]:
    """Recall at each k, median rank and mean reciprocal rank of (Q,) ranks from 1."""
    recalls = {f"r{k}": float((ranks <= k).double().mean()) for k in RECALL_AT}
    return recalls | {
        "median_rank": float(ranks.median()),
        "mean_reciprocal_rank": float((1 / ranks.double()).mean()),
    }
