"""Retrieval in two stages: all candidates by cosine, then the best of them by a judge of pairs.

Q queries, P candidates, D embedding width, k re-ranked candidates.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import torch

from likewise.metrics.inputs import Array, rows_per_tile
from likewise.metrics.relevance import Relevance
from likewise.metrics.retrieval import checked_pair, prefixed, ranks_in, recalls, summarise_ranks

__all__ = ["Judge", "reranked_ranks", "reranked_retrieval"]

Judge = Callable[[np.ndarray, np.ndarray], np.ndarray]
"""From rows of images and of texts, (p,) each, to (p,) scores; higher means more likely a pair."""


def reranked_ranks(
    queries: torch.Tensor, candidates: torch.Tensor, relevance: Relevance, *, judge: Judge, num_judged: int
) -> torch.Tensor:
    """Rank of each query's best right candidate, after the judge re-ordered the k best by cosine.

    The other candidates stay behind them in their order. Ties count against the model, as in `first_ranks`.

    Args:
        queries: (Q, D) unit rows.
        candidates: (P, D) unit rows.
        relevance: which candidates are right.
        judge: scores pairs of a query and a candidate.
        num_judged: k; all candidates where there are fewer.

    Returns:
        (Q,) int64, from 1; 0 where no candidate is right.

    Reference:
        Li et al. 2021, arXiv 2107.07651, section 3.3; Yang et al. 2022, arXiv 2202.10401, section 4.2.
    """
    return _reranked_ranks(queries, candidates, {"": relevance}, judge=judge, num_judged=num_judged)[""]


def _reranked_ranks(
    queries: torch.Tensor,
    candidates: torch.Tensor,
    protocols: Mapping[str, Relevance],
    *,
    judge: Judge,
    num_judged: int,
) -> dict[str, torch.Tensor]:
    """`reranked_ranks` by each protocol; each pair is judged once."""
    k = min(num_judged, len(candidates))
    if k < 1:
        raise ValueError(f"at least one candidate must be judged, got {num_judged}")
    step = rows_per_tile(len(candidates))
    ranks: dict[str, list[torch.Tensor]] = {prefix: [] for prefix in protocols}
    for start in range(0, len(queries), step):
        similarity = queries[start : start + step] @ candidates.T  # (q, P)
        best = similarity.topk(k, dim=1).indices  # (q, k)
        rows = torch.arange(start, start + len(best), device=best.device)[:, None].expand_as(best)
        scores = judge(rows.flatten().cpu().numpy(), best.flatten().cpu().numpy())
        score = torch.from_numpy(scores).to(best.device).view_as(best)
        for prefix, relevance in protocols.items():
            right = relevance.rows(start, start + step)  # (q, P)
            of_best = right.gather(1, best)  # (q, k)
            top = score.masked_fill(~of_best, -torch.inf).amax(dim=1, keepdim=True)
            judged = 1 + ((score >= top) & ~of_best).sum(dim=1)
            # Without a right one among the k, the first right one keeps its rank by cosine.
            ranks[prefix].append(torch.where(of_best.any(dim=1), judged, ranks_in(similarity, right)))
    return {prefix: torch.cat(tiles) for prefix, tiles in ranks.items()}


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
        text_groups: (M,) integers; a text belongs to the images of its group.
        judge: scores pairs, given rows of images and of texts.
        num_judged: candidates of each query to re-rank; all of them where there are fewer.
        text_ids: (M,) integers, equal for equal texts, as in `retrieval`.

    Returns:
        The figures of `retrieval` behind `reranked_` (and `published_reranked_`), without chance levels, and
        `num_judged`, no more than there are candidates in the direction that has more of them.
    """
    images, texts, of_images, of_texts = checked_pair(
        image_embeddings, text_embeddings, image_groups, text_groups, text_ids
    )
    figures: dict[str, float] = {"num_judged": min(num_judged, max(len(images), len(texts)))}
    for name, found in (
        ("image_to_text", _reranked_ranks(images, texts, of_images, judge=judge, num_judged=num_judged)),
        (
            "text_to_image",
            _reranked_ranks(texts, images, of_texts, judge=lambda t, i: judge(i, t), num_judged=num_judged),
        ),
    ):
        for prefix, ranks in found.items():
            summarise = recalls if prefix else summarise_ranks
            figures |= prefixed(f"{prefix}reranked_{name}_", summarise(ranks[ranks > 0]))
    return figures
