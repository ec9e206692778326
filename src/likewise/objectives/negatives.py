"""Drawing hard negatives: non-matching samples with high similarity.

Legend: b own rows, M candidates, D feature width.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ._numerics import check_matrix, check_shape, inverse, objective, unit_rows
from ._strips import map_strips

__all__ = ["draw_hard_negatives"]


@objective
@torch.no_grad()
def draw_hard_negatives(
    queries: Tensor,
    candidates: Tensor,
    *,
    temperature: float | Tensor,
    group_queries: Tensor,
    group_candidates: Tensor,
    generator: torch.Generator | None = None,
    uniform: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """For each query one candidate of another group, with probability softmax(similarity / tau) over those.

    The draw is an argmax of logits with Gumbel noise, so tiny probabilities cannot sum to zero.

    Args:
        queries: (b, D).
        candidates: (M, D).
        temperature: above 0.
        group_queries: (b,) int64 group ids, or (b, K): K group ids; one match suffices.
        group_candidates: (M,) int64, or (M, K).
        generator: on the device of the features.
        uniform: (b, M) random numbers in [0, 1), instead of a generator.

    Returns:
        Indices (b,) int64 into the candidates, and (b,) bool: whether the query has a candidate of another
        group. If not, the index is 0 and the caller must leave the pair out.

    Reference:
        Li et al. 2021, arXiv 2107.07651, section 3.2. Deviation: groups.
    """
    check_matrix(queries=queries, candidates=candidates)
    group_queries, group_candidates = (
        groups[:, None] if groups.dim() == 1 else groups for groups in (group_queries, group_candidates)
    )
    num_ids = group_queries.shape[1]  # K
    check_shape((queries.shape[0], num_ids), group_queries=group_queries)
    check_shape((candidates.shape[0], num_ids), group_candidates=group_candidates)
    check_shape((queries.shape[0], candidates.shape[0]), uniform=uniform)
    keys = unit_rows(candidates)
    scaled = unit_rows(queries) * inverse(temperature, queries)
    rows = torch.arange(queries.shape[0], device=queries.device)

    def per_query(own: Tensor, group: Tensor, row: Tensor) -> Tensor:
        logits = own @ keys.t().to(own.dtype)  # (r, M)
        if uniform is None:
            exponential = torch.empty_like(logits).exponential_(generator=generator)
        else:
            exponential = -uniform[row].to(logits.dtype).clamp_min(2.0**-30).log()
        equal = group[:, None, 0] == group_candidates[:, 0]  # (r, M)
        for k in range(1, num_ids):
            equal |= group[:, None, k] == group_candidates[:, k]
        drawn = (logits - exponential.log()).masked_fill(equal, -torch.inf).argmax(1)
        return torch.stack([drawn, (~equal).any(1).long()], 1)

    drawn, found = map_strips(per_query, candidates.shape[0], scaled, group_queries, rows).unbind(1)
    return torch.where(found > 0, drawn, 0), found > 0
