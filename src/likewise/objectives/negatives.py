"""Drawing hard negatives: other samples that look like matches.

Legend: b own rows, M candidates, D feature width.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ._numerics import check_matrix, check_shape, inverse, objective, unit_rows
from ._strips import strip_values

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

    The draw is an argmax of logits with Gumbel noise: no row of probabilities can sum to zero, however small
    they all are.

    Args:
        queries: (b, D).
        candidates: (M, D).
        temperature: above 0.
        group_queries: (b,) int64; the sample's own number where nothing else is known to be equal. Or (b, K),
            K ways to be equal: what is so in one of them is of the same group.
        group_candidates: (M,) int64, or (M, K).
        generator: source of the draws, on the device of the features.
        uniform: (b, M) numbers in [0, 1) that draw, instead of a generator.

    Returns:
        Indices (b,) int64 into the candidates, and (b,) bool: whether the query has any candidate of another
        group. Where it has none the index is 0 and the caller leaves the pair out.

    Reference:
        Li et al. 2021, arXiv 2107.07651, section 3.2; equal groups are left out here.
    """
    check_matrix(queries=queries, candidates=candidates)
    group_queries, group_candidates = _by_ways(group_queries), _by_ways(group_candidates)
    ways = group_queries.shape[1]
    check_shape((queries.shape[0], ways), group_queries=group_queries)
    check_shape((candidates.shape[0], ways), group_candidates=group_candidates)
    keys = unit_rows(candidates)
    scaled = unit_rows(queries) * inverse(temperature, queries)

    if uniform is not None and uniform.shape != (queries.shape[0], candidates.shape[0]):
        wanted = (queries.shape[0], candidates.shape[0])
        raise ValueError(f"uniform must have shape {wanted}, got {tuple(uniform.shape)}")
    drawn_rows = torch.arange(queries.shape[0], device=queries.device)

    def per_query(own: Tensor, group: Tensor, row: Tensor) -> Tensor:
        logits = own @ keys.t().to(own.dtype)  # (r, M)
        if uniform is None:
            waits = torch.empty_like(logits).exponential_(generator=generator)
        else:
            waits = -uniform[row].to(logits.dtype).clamp_min(2.0**-30).log()
        equal = group[:, None, 0] == group_candidates[:, 0]  # (r, M)
        for way in range(1, ways):
            equal |= group[:, None, way] == group_candidates[:, way]
        drawn = (logits - waits.log()).masked_fill(equal, -torch.inf).argmax(1)
        return torch.stack([drawn, (~equal).any(1).long()], 1)

    found = strip_values(per_query, candidates.shape[0], scaled, group_queries, drawn_rows)
    return torch.where(found[:, 1] > 0, found[:, 0], 0), found[:, 1] > 0


def _by_ways(groups: Tensor) -> Tensor:
    """(rows,) or (rows, K) to (rows, K)."""
    return groups[:, None] if groups.dim() == 1 else groups
