"""Image and text retrieval, both ways, with any number of captions an image.

N images, M texts, Q queries, P candidates, D dimension. A text and an image belong together when their groups
are equal: two captions of one photo are both right answers, and so is the caption of another scene when
the data puts the two in one group. A text that is word for word a right answer can be counted as one too,
whatever its group: nothing in it tells the two apart.
"""

from __future__ import annotations

import torch

from likewise.metrics.chance import first_hit_chance
from likewise.metrics.inputs import Array, as_labels, as_unit_pair, rows_per_tile
from likewise.metrics.relevance import Relevance, images_and_texts

__all__ = ["retrieval", "first_ranks", "ranks_by", "ranks_in", "summarise_ranks", "RECALL_AT", "TIE"]

RECALL_AT = (1, 5, 10)

TIE = 1e-6
"""Cosines nearer than this are tied: float32 rounding, and no knowledge of the model, separates them."""


def first_ranks(
    queries: Array,
    candidates: Array,
    query_groups: Array,
    candidate_groups: Array,
    *,
    tile_rows: int | None = None,
) -> torch.Tensor:
    """Rank of the best right candidate of each query: one more than the wrong ones at or above it.

    Ties count against the model: a wrong candidate that scores the same as the best right one goes first.
    So a collapsed model, which scores everything the same, comes last instead of first.

    Args:
        queries: (Q, D); scaled to unit length here.
        candidates: (P, D); scaled to unit length here.
        query_groups: (Q,) integers.
        candidate_groups: (P,) integers; right where equal to the query's.
        tile_rows: queries compared at a time; chosen so that 16 MiB of similarities are held when None.

    Returns:
        (Q,) int64, from 1; 0 where no candidate is right.

    Raises:
        ValueError: shapes that don't fit, or values that are not finite.
    """
    query_rows, candidate_rows = as_unit_pair(queries, candidates, ("queries", "candidates"))
    device = query_rows.device
    own = as_labels(query_groups, "query_groups", count=len(query_rows), device=device)
    theirs = as_labels(candidate_groups, "candidate_groups", count=len(candidate_rows), device=device)
    return _unit_ranks(query_rows, candidate_rows, Relevance(own, theirs), tile_rows)


def ranks_by(queries: Array, candidates: Array, right: Relevance) -> torch.Tensor:
    """`first_ranks` of (Q, D) and (P, D), by what is right."""
    return _unit_ranks(*as_unit_pair(queries, candidates, ("queries", "candidates")), right, None)


def _unit_ranks(
    queries: torch.Tensor, candidates: torch.Tensor, right: Relevance, tile_rows: int | None
) -> torch.Tensor:
    """`first_ranks` of unit rows, by what is right."""
    step = rows_per_tile(len(candidates)) if tile_rows is None else tile_rows
    ranks = []
    for start in range(0, len(queries), step):
        similarity = queries[start : start + step] @ candidates.T  # (q, P)
        ranks.append(ranks_in(similarity, right.rows(start, start + step)))
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
    tile_rows: int | None = None,
) -> dict[str, float]:
    """How well images find their texts, and texts their images, by cosine.

    Args:
        image_embeddings: (N, D).
        text_embeddings: (M, D).
        image_groups: (N,) integers.
        text_groups: (M,) integers; a text belongs to the images with its group.
        text_ids: (M,) integers, equal for equal texts, each of which is then right wherever one of them is.
        tile_rows: queries compared at a time, see `first_ranks`.

    Returns:
        For each direction `image_to_text` and `text_to_image`: `_r1`, `_r5`, `_r10` (share of queries with a
        right answer among the first k), `_median_rank` (the lower middle one of an even number) and
        `_mean_reciprocal_rank`; the same names behind `chance_` for a ranking by lot; `num_images` and
        `num_texts`, the queries counted: one without any right answer among the candidates is not.

    Raises:
        ValueError: shapes that don't fit, values that are not finite, or no image and text with equal groups.
    """
    images, texts = as_unit_pair(image_embeddings, text_embeddings, ("image_embeddings", "text_embeddings"))
    image_of = as_labels(image_groups, "image_groups", count=len(images), device=images.device)
    text_of = as_labels(text_groups, "text_groups", count=len(texts), device=texts.device)
    if text_ids is not None:
        text_ids = as_labels(text_ids, "text_ids", count=len(texts), device=texts.device)
    of_images, of_texts = images_and_texts(image_of, text_of, text_ids)
    result: dict[str, float] = {}
    counts = {}
    for name, queries, candidates, right in (
        ("image_to_text", images, texts, of_images),
        ("text_to_image", texts, images, of_texts),
    ):
        ranks = _unit_ranks(queries, candidates, right, tile_rows)
        counted = ranks[ranks > 0]
        if len(counted) == 0:
            raise ValueError("no image and text have equal groups: there is nothing to retrieve")
        counts[name] = len(counted)
        result |= {f"{name}_{key}": value for key, value in summarise_ranks(counted).items()}
        num_right = right.counts()
        chance = first_hit_chance(num_right[num_right > 0].tolist(), len(candidates), RECALL_AT)
        result |= {f"chance_{name}_{key}": value for key, value in chance.items()}
    return result | {"num_images": counts["image_to_text"], "num_texts": counts["text_to_image"]}


def summarise_ranks(ranks: torch.Tensor) -> dict[str, float]:
    """Recall at each k, median rank and mean reciprocal rank of (Q,) ranks from 1."""
    recalls = {f"r{k}": float((ranks <= k).double().mean()) for k in RECALL_AT}
    return recalls | {
        "median_rank": float(ranks.median()),
        "mean_reciprocal_rank": float((1 / ranks.double()).mean()),
    }
