"""Retrieval in two stages: all candidates by cosine, the best of them again by a judge of pairs.

Q queries, P candidates, D dimension, k candidates that are judged.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch

from likewise.metrics.inputs import Array, as_labels, as_unit_pair, rows_per_tile
from likewise.metrics.relevance import Relevance, images_and_texts
from likewise.metrics.retrieval import ranks_in, summarise_ranks

__all__ = ["Judge", "chance_of", "reranked_ranks", "reranked_retrieval"]

Judge = Callable[[np.ndarray, np.ndarray], np.ndarray]
"""From places of images and of texts, (p,) each, to (p,) scores; the greater, the more likely a pair."""


def chance_of(figures: Mapping[str, Any], name: str) -> Any:
    """What a figure of a task would be by chance; the order by chance is no better for being judged again."""
    return figures.get(f"chance_{name.removeprefix('reranked_')}")


def reranked_ranks(
    queries: Array,
    candidates: Array,
    query_groups: Array,
    candidate_groups: Array,
    *,
    judge: Judge,
    num_judged: int,
) -> torch.Tensor:
    """Rank of the best right candidate of each query, after the k best by cosine were put in the judge's
    order; the others stay behind them, as they were.

    Ties count against the model, as in `first_ranks`.

    Args:
        queries: (Q, D).
        candidates: (P, D).
        query_groups: (Q,) integers.
        candidate_groups: (P,) integers; right where equal to the query's.
        judge: scores pairs of a query and a candidate.
        num_judged: k; all candidates where there are fewer.

    Returns:
        (Q,) int64, from 1; 0 where no candidate is right.

    Reference:
        Li et al. 2021, arXiv 2107.07651, section 3.3; Yang et al. 2022, arXiv 2202.10401, section 4.2.
    """
    query_rows, candidate_rows = as_unit_pair(queries, candidates, ("queries", "candidates"))
    own = as_labels(query_groups, "query_groups", count=len(query_rows), device=query_rows.device)
    theirs = as_labels(
        candidate_groups, "candidate_groups", count=len(candidate_rows), device=query_rows.device
    )
    return _unit_ranks(query_rows, candidate_rows, Relevance(own, theirs), judge, num_judged)


def _unit_ranks(
    queries: torch.Tensor,
    candidates: torch.Tensor,
    belonging: Relevance,
    judge: Judge,
    num_judged: int,
) -> torch.Tensor:
    """`reranked_ranks` of unit rows, by what is right."""
    k = min(num_judged, len(candidates))
    if k < 1:
        raise ValueError(f"at least one candidate must be judged, got {num_judged}")
    step = rows_per_tile(len(candidates))
    ranks = []
    for start in range(0, len(queries), step):
        similarity = queries[start : start + step] @ candidates.T  # (q, P)
        right = belonging.rows(start, start + step)  # (q, P)
        best = similarity.topk(k, dim=1).indices  # (q, k)
        asked = torch.arange(start, start + len(best), device=best.device)[:, None].expand_as(best)
        scores = judge(asked.flatten().cpu().numpy(), best.flatten().cpu().numpy())
        score = torch.from_numpy(scores).to(best.device).view_as(best)
        of_best = right.gather(1, best)  # (q, k)
        top = score.masked_fill(~of_best, -torch.inf).amax(dim=1, keepdim=True)
        judged = 1 + ((score >= top) & ~of_best).sum(dim=1)
        # Where the judge saw no right one, the first right one stands behind all it saw.
        ranks.append(torch.where(of_best.any(dim=1), judged, ranks_in(similarity, right)))
    return torch.cat(ranks)


def reranked_retrieval(
    image_embeddings: Array,
    text_embeddings: Array,
    image_groups: Array,
    text_groups: Array,
    *,
    judge: Judge,
    num_judged: int,
    text_ids: Array | None = None,
) -> dict[str, float]:
    """How well images find their texts, and texts their images, in two stages.

    Args:
        image_embeddings: (N, D).
        text_embeddings: (M, D).
        image_groups: (N,) integers.
        text_groups: (M,) integers; a text belongs to the images with its group.
        judge: scores pairs, given places of images and of texts.
        num_judged: candidates of each query that it judges; all of them where there are fewer.
        text_ids: (M,) integers, equal for equal texts, as of `retrieval`.

    Returns:
        The figures of `retrieval` behind `reranked_`, and `num_judged`, no more than there are candidates in
        the direction that has more of them.
    """
    images, texts = as_unit_pair(image_embeddings, text_embeddings, ("image_embeddings", "text_embeddings"))
    image_of = as_labels(image_groups, "image_groups", count=len(images), device=images.device)
    text_of = as_labels(text_groups, "text_groups", count=len(texts), device=texts.device)
    if text_ids is not None:
        text_ids = as_labels(text_ids, "text_ids", count=len(texts), device=texts.device)
    of_images, of_texts = images_and_texts(image_of, text_of, text_ids)

    def judge_turned(of_texts: np.ndarray, of_images: np.ndarray) -> np.ndarray:
        return judge(of_images, of_texts)

    directions = {
        "image_to_text": _unit_ranks(images, texts, of_images, judge, num_judged),
        "text_to_image": _unit_ranks(texts, images, of_texts, judge_turned, num_judged),
    }
    figures: dict[str, float] = {"num_judged": min(num_judged, max(len(images), len(texts)))}
    for name, ranks in directions.items():
        figures |= {
            f"reranked_{name}_{key}": value for key, value in summarise_ranks(ranks[ranks > 0]).items()
        }
    return figures
