"""Contrastive objectives: find the positive among the keys.

Legend: B queries, M keys, K queue, D feature width. s is cosine similarity, tau the temperature.

With several processes `keys` are the gathered rows and `positives` come from `own_rows`; a queue is the same
on all. The result is the mean over the own rows; `likewise.collectives` explains why averaging gradients then
equals the single-process gradient. Memory is linear in B + M.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from ._numerics import (
    Precision,
    check_choice,
    check_finite,
    check_groups,
    check_indices,
    check_matrix,
    check_pairs,
    check_shape,
    inverse,
    objective,
    row_mean,
    unit_rows,
)
from ._rules import Rules, Teacher, Tile, group_shares
from ._tiles import compare, row_sums

__all__ = ["hard_negative_info_nce", "info_nce", "moco_loss"]


@objective
def info_nce(
    queries: Tensor,
    keys: Tensor,
    positives: Tensor | None = None,
    *,
    temperature: float | Tensor,
    group_queries: Tensor | None = None,
    group_keys: Tensor | None = None,
    same_group: Literal["left_out", "shared"] = "left_out",
    targets: Tensor | None = None,
    target_queries: Tensor | None = None,
    target_keys: Tensor | None = None,
    target_weight: float | Tensor = 1.0,
    target_temperature: float | Tensor | None = None,
    normalize: bool = True,
    precision: Precision = None,
    tile: tuple[int, int] | None = None,
) -> Tensor:
    """-log softmax over the keys of each query, at its positive.

    Soft targets come as a matrix (`targets`), or from a teacher's features with memory linear in the rows:
    target_weight * softmax(teacher similarity) + (1 - target_weight) * hard target.

    Args:
        queries: (B, D) any float dtype.
        keys: (M, D); further keys, such as a queue, follow those of the batch.
        positives: (B,) int64 index of each query's key; row i matches key i when None.
        temperature: above 0; a tensor gets its gradient.
        group_queries: (B,) int64 group ids.
        group_keys: (M,) int64.
        same_group: other keys of the query's group are "left_out" (never negatives) or "shared": positives
            that share the hard target evenly. With `targets`, "shared" only keeps them in the sum.
        targets: (B, M) soft targets in place of the hard one; rows usually sum to 1. Those of keys that are
            left out count 0.
        target_queries: (B, D') of a teacher; gets no gradient.
        target_keys: (M, D') of a teacher; gets no gradient.
        target_weight: weight of the teacher in the target, in [0, 1].
        target_temperature: the teacher's; `temperature` without gradient when None.
        normalize: bring features, a teacher's too, to unit length.
        precision: "bfloat16" computes the matrix products in bf16, sums stay float32.
        tile: (rows, columns) of a tile; always streams. Chosen by shape when None.

    Returns:
        Scalar, nats, mean over the queries.

    Raises:
        ValueError: shapes that do not match, an unknown choice, indices out of range (on an accelerator only
            inside `checked_inputs`), a query without a key of its group under "shared", both forms of soft
            targets, a teacher's weight or temperature without a teacher.

    Reference:
        van den Oord et al. 2018, arXiv 1807.03748, eq. 4. Soft targets: Li et al. 2021, arXiv 2107.07651, eq.
        6.
    """
    check_choice("same_group", same_group, ("left_out", "shared"))
    _check_one_target(targets, target_queries, target_keys, target_weight, target_temperature)
    check_matrix(queries=queries, keys=keys)
    check_finite(queries=queries, keys=keys, targets=targets)
    scale = inverse(temperature, queries)
    positives = _positives(positives, queries, keys)
    check_groups(len(queries), len(keys), group_queries=group_queries, group_keys=group_keys)
    shared = same_group == "shared"
    rules = Rules(
        positives=positives,
        group_queries=group_queries,
        group_keys=group_keys,
        shares=_shares(group_queries, group_keys) if shared else None,
        normalize=normalize,
        precision=precision,
        tile=tile,
    )
    if targets is not None:
        if shared:  # group mates are ordinary keys then; the targets say the rest
            rules = replace(rules, shares=None, group_queries=None, group_keys=None)
        rules = replace(rules, targets=_masked_targets(targets, queries, keys, rules))
    elif target_queries is not None and target_keys is not None:
        check_matrix(target_queries=target_queries, target_keys=target_keys)
        if (len(target_queries), len(target_keys)) != (len(queries), len(keys)):
            raise ValueError(
                f"a teacher has a row for each of {len(queries)} queries and {len(keys)} keys, got "
                f"target_queries {tuple(target_queries.shape)} and target_keys {tuple(target_keys.shape)}"
            )
        target_scale = inverse(temperature if target_temperature is None else target_temperature, queries)
        teacher = Teacher(target_queries.detach(), target_keys.detach(), target_scale.detach(), normalize)
        rules = replace(rules, teacher=teacher)
    per_query, _, soft = compare(queries, keys, scale, rules)
    if soft is not None:
        per_query = soft if targets is not None else target_weight * soft + (1 - target_weight) * per_query
    return row_mean(per_query, scale.dtype)


@objective
def moco_loss(
    queries: Tensor,
    keys: Tensor,
    queue: Tensor,
    *,
    temperature: float | Tensor,
    groups: Tensor | None = None,
    queue_groups: Tensor | None = None,
    normalize: bool = True,
    precision: Precision = None,
    tile: tuple[int, int] | None = None,
) -> Tensor:
    """Each query's key against a queue of other samples' keys; the batch's other keys are not negatives.

    Args:
        queries: (B, D).
        keys: (B, D), row i matches query i; gets no gradient.
        queue: (K, D); gets no gradient.
        temperature: above 0; a tensor gets its gradient.
        groups: (B,) int64 group ids.
        queue_groups: (K,) int64; keys of a query's own group (its own key of an earlier epoch, say) are never
            negatives.
        normalize: bring features to unit length.
        precision: "bfloat16" computes the matrix products in bf16, sums stay float32.
        tile: (rows, columns) of a tile; always streams. Chosen by shape when None.

    Returns:
        Scalar, nats, mean over the queries.

    Reference:
        He et al. 2019, arXiv 1911.05722, eq. 1 and algorithm 1. Deviation: groups.
    """
    check_pairs(queries=queries, keys=keys)
    check_matrix(queries=queries, queue=queue)
    check_finite(queries=queries, keys=keys, queue=queue)
    check_groups(len(queries), len(queue), groups=groups, queue_groups=queue_groups)
    rules = Rules(
        group_queries=groups, group_keys=queue_groups, normalize=normalize, precision=precision, tile=tile
    )
    scale = inverse(temperature, queries)
    others = row_sums(queries, queue.detach(), scale, rules)  # (B,)
    own = (unit_rows(queries, normalize) * unit_rows(keys.detach(), normalize)).sum(1) * scale
    return row_mean(F.softplus(others - own), scale.dtype)  # log(e^own + e^others) - own


@objective
def hard_negative_info_nce(
    queries: Tensor,
    keys: Tensor,
    negatives: Tensor | None = None,
    *,
    temperature: float | Tensor,
    weight: float = 1.0,
    rows: Tensor | None = None,
    groups: Tensor | None = None,
    all_groups: Tensor | None = None,
    normalize: bool = True,
    precision: Precision = None,
    tile: tuple[int, int] | None = None,
) -> Tensor:
    """InfoNCE over the keys and a hard negative of each row: those of other rows are negatives too.

    Args:
        queries: (B, D) any float dtype.
        keys: (M, D), the positives of all rows.
        negatives: (M, D), the hard negatives of all rows; None for plain InfoNCE.
        temperature: above 0; a tensor gets its gradient.
        weight: of a query's own hard negative in the sum, above 0; those of other rows weigh 1.
        rows: (B,) int64, each query's row in `keys` and `negatives`; row i matches row i when None.
        groups: (B,) int64 group ids of the queries.
        all_groups: (M,) int64 of the rows; keys of a query's group are never negatives. Hard negatives always
            are.
        normalize: bring features to unit length.
        precision: "bfloat16" computes the matrix products in bf16, sums stay float32.
        tile: (rows, columns) of a tile; always streams. Chosen by shape when None.

    Returns:
        Scalar, nats, mean over the queries.

    Raises:
        ValueError: shapes that do not match, a weight that is not above 0, indices out of range.

    Reference:
        Gao et al. 2021, arXiv 2104.08821, eq. 5; the weight: appendix B. Deviation: groups.
    """
    if not weight > 0:
        raise ValueError(f"weight must be above 0, got {weight}")
    check_matrix(queries=queries, keys=keys)
    check_shape(keys.shape, negatives=negatives)
    check_finite(queries=queries, keys=keys, negatives=negatives)
    check_groups(len(queries), len(keys), groups=groups, all_groups=all_groups)
    scale, positives = inverse(temperature, queries), _positives(rows, queries, keys)
    candidates = keys
    if negatives is not None:
        candidates = torch.cat([keys, negatives])
        if all_groups is not None and groups is not None:
            lowest = torch.minimum(groups.min(), all_groups.min()) - 1  # nobody's group
            all_groups = torch.cat([all_groups, lowest.expand_as(all_groups)])
    rules = Rules(
        positives=positives,
        group_queries=groups,
        group_keys=all_groups,
        normalize=normalize,
        precision=precision,
        tile=tile,
    )
    per_query, _, _ = compare(queries, candidates, scale, rules)  # (B,) log-sum-exp - positive's logit
    if negatives is not None and weight != 1:
        unit = unit_rows(queries, normalize)
        apart = (unit_rows(negatives, normalize) - unit_rows(keys, normalize))[positives]
        gap = (unit * apart.to(unit.dtype)).sum(1) * scale  # own negative's logit - positive's
        # The sum with the own negative's term times `weight` in place of 1.
        if weight > 1:
            per_query = torch.logaddexp(per_query, gap + math.log(weight - 1))
        else:
            per_query = per_query + torch.log1p((weight - 1) * (gap - per_query).clamp_max(0).exp())
    return row_mean(per_query, scale.dtype)


def _check_one_target(
    targets: Tensor | None,
    target_queries: Tensor | None,
    target_keys: Tensor | None,
    target_weight: float | Tensor,
    target_temperature: float | Tensor | None,
) -> None:
    """Reject arguments that would have no effect: a weight without a teacher, a teacher beside `targets`."""
    if (target_queries is None) != (target_keys is None):
        raise ValueError("a teacher needs both target_queries and target_keys")
    if targets is not None and target_queries is not None:
        raise ValueError("soft targets come from `targets` or from a teacher, not from both")
    weighted = isinstance(target_weight, Tensor) or target_weight != 1.0
    if target_queries is None and (weighted or target_temperature is not None):
        raise ValueError(
            "target_weight and target_temperature are a teacher's: give target_queries and target_keys"
        )


def _positives(positives: Tensor | None, queries: Tensor, keys: Tensor) -> Tensor:
    if positives is not None:
        check_shape(queries.shape[:1], positives=positives)
        check_indices(keys.shape[0], positives=positives)
        return positives
    if queries.shape[0] > keys.shape[0]:
        raise ValueError(
            f"{queries.shape[0]} queries but {keys.shape[0]} keys: query i matches key i unless `positives` "
            "is given"
        )
    return torch.arange(queries.shape[0], device=queries.device)


def _shares(own: Tensor | None, others: Tensor | None) -> Tensor:
    if own is None or others is None:
        raise ValueError('same_group="shared" needs group_queries and group_keys')
    shares = group_shares(own, others, None)
    if bool((shares == 0).any()):
        raise ValueError(
            f"query {int((shares == 0).nonzero()[0])} has no key of its group to share the target"
        )
    return shares


def _masked_targets(targets: Tensor, queries: Tensor, keys: Tensor, rules: Rules) -> Tensor:
    """(B, M) without gradient, 0 at masked keys."""
    check_shape((queries.shape[0], keys.shape[0]), targets=targets)
    mask = rules.mask(Tile.whole(queries, keys))
    return targets.detach() if mask is None else targets.detach().masked_fill(mask, 0.0)
