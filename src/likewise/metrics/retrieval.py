"""Image and text retrieval in both directions, with any number of captions per image.

N images, M texts, Q queries, P candidates, D embedding width. A text and an image belong together when their
groups are equal: two captions of one photo are both right answers, and so is the caption of another scene in
the same group. A text that equals a right answer word for word can count as right too, in any group: no model
can tell the two apart. The published protocol counts it as wrong; its recalls are named `published_`.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch

from likewise.metrics.chance import first_hit_chance
from likewise.metrics.inputs import Array, as_labels, as_unit_pair, rows_per_tile
from likewise.metrics.relevance import Relevance, images_and_texts

__all__ = [
    "PUBLISHED",
    "RECALL_AT",
    "checked_pair",
    "first_ranks",
    "prefixed",
    "ranks_in",
    "recalls",
    "retrieval",
    "summarise_ranks",
    "tie_margin",
]

RECALL_AT = (1, 5, 10)

PUBLISHED = "published_"
"""Before the keys of the published protocol, where every text of another group is wrong."""


def tie_margin(dtype: torch.dtype) -> float:
    """Cosines closer than this are tied, because rounding alone separates them: 1e-6 in float32, 2e-15 in
    float64."""
    return 1e-6 * torch.finfo(dtype).eps / torch.finfo(torch.float32).eps


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
    return _ranks(*as_unit_pair(queries, candidates, ("queries", "candidates")), {"": relevance})[""]


def _ranks(
    queries: torch.Tensor, candidates: torch.Tensor, protocols: Mapping[str, Relevance]
) -> dict[str, torch.Tensor]:
    """`first_ranks` for checked unit rows, by each protocol."""
    step = rows_per_tile(len(candidates))
    ranks: dict[str, list[torch.Tensor]] = {prefix: [] for prefix in protocols}
    for start in range(0, len(queries), step):
        similarity = queries[start : start + step] @ candidates.T  # (q, P)
        for prefix, relevance in protocols.items():
            ranks[prefix].append(ranks_in(similarity, relevance.rows(start, start + step)))
    return {prefix: torch.cat(tiles) for prefix, tiles in ranks.items()}


def ranks_in(similarity: torch.Tensor, right: torch.Tensor) -> torch.Tensor:
    """(q,) ranks as of `first_ranks`, from (q, P) similarities and which candidates are right."""
    best = similarity.masked_fill(~right, -torch.inf).amax(dim=1, keepdim=True)  # (q, 1)
    rank = 1 + ((similarity >= best - tie_margin(similarity.dtype)) & ~right).sum(dim=1)
    return rank.where(right.any(dim=1), torch.zeros_like(rank))


def retrieval(
    image_embeddings: Array,
    text_embeddings: Array,
    image_groups: Array,
    text_groups: Array,
    *,
    text_ids: Array | None = None,
    names: tuple[str, str] = ("image", "text"),
) -> dict[str, float]:
    """How well images find their texts, and texts their images, by cosine.

    Args:
        image_embeddings: (N, D).
        text_embeddings: (M, D).
        image_groups: (N,) integers.
        text_groups: (M,) integers; a text belongs to the images of its group.
        text_ids: (M,) integers, equal for equal texts: each is then right wherever one of them is.
        names: of both sides in the keys, where the second is not of texts.

    Returns:
        For each direction `image_to_text` and `text_to_image`: `_r1`, `_r5`, `_r10` (share of queries with a
        right answer among the first k), `_median_rank` (the lower middle one of an even number) and
        `_mean_reciprocal_rank`; the same keys behind `chance_` for a random order; `num_images` and
        `num_texts`, the queries counted: those with a right answer among the candidates. With `text_ids`
        also the recalls behind `published_`, as if there were none, and behind `chance_published_`.

    Raises:
        ValueError: shapes that don't fit, values that are not finite, or no image and text with equal groups.
    """
    images, texts, of_images, of_texts = checked_pair(
        image_embeddings, text_embeddings, image_groups, text_groups, text_ids
    )
    published: dict[str, float] = {}
    result: dict[str, float] = {}
    counts = []
    first, second = names
    for name, queries, candidates, protocols in (
        (f"{first}_to_{second}", images, texts, of_images),
        (f"{second}_to_{first}", texts, images, of_texts),
    ):
        for prefix, ranks in _ranks(queries, candidates, protocols).items():
            ranks = ranks[ranks > 0]
            if len(ranks) == 0:
                raise ValueError(f"no {first} and {second} have equal groups: there is nothing to retrieve")
            num_right = protocols[prefix].counts()
            chance = first_hit_chance(num_right[num_right > 0].tolist(), len(candidates), RECALL_AT)
            if prefix:
                published |= prefixed(f"{prefix}{name}_", recalls(ranks))
                published |= prefixed(f"chance_{prefix}{name}_", {key: chance[key] for key in recalls(ranks)})
                continue
            counts.append(len(ranks))
            result |= prefixed(f"{name}_", summarise_ranks(ranks)) | prefixed(f"chance_{name}_", chance)
    return result | {f"num_{first}s": counts[0], f"num_{second}s": counts[1]} | published


def checked_pair(
    image_embeddings: Array,
    text_embeddings: Array,
    image_groups: Array,
    text_groups: Array,
    text_ids: Array | None,
) -> tuple[torch.Tensor, torch.Tensor, dict[str, Relevance], dict[str, Relevance]]:
    """Unit rows of images (N, D) and texts (M, D); what is right for images, and for texts, as queries.

    By protocol, each by the prefix of its keys: ours has none.
    """
    images, texts = as_unit_pair(image_embeddings, text_embeddings, ("image_embeddings", "text_embeddings"))
    image_of = as_labels(image_groups, "image_groups", count=len(images), device=images.device)
    text_of = as_labels(text_groups, "text_groups", count=len(texts), device=texts.device)
    ids: dict[str, Array | None] = {"": text_ids}
    if text_ids is not None:
        ids = {"": as_labels(text_ids, "text_ids", count=len(texts), device=texts.device), PUBLISHED: None}
    found = {prefix: images_and_texts(image_of, text_of, same) for prefix, same in ids.items()}
    of_images, of_texts = ({prefix: both[way] for prefix, both in found.items()} for way in (0, 1))
    return images, texts, of_images, of_texts


def recalls(ranks: torch.Tensor) -> dict[str, float]:
    """Recall at each k of (Q,) ranks from 1."""
    return {f"r{k}": float((ranks <= k).double().mean()) for k in RECALL_AT}


def prefixed(prefix: str, figures: Mapping[str, float]) -> dict[str, float]:
    """The figures with a prefix before each key."""
    return {prefix + key: value for key, value in figures.items()}


def summarise_ranks(ranks: torch.Tensor) -> dict[str, float]:
    """Recall at each k, median rank and mean reciprocal rank of (Q,) ranks from 1."""
    return recalls(ranks) | {
        "median_rank": float(ranks.median()),
        "mean_reciprocal_rank": float((1 / ranks.double()).mean()),
    }
