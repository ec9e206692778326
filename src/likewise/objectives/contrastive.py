"""Contrastive objectives: find the positive among the keys.

Legend: B own rows, M keys, D feature width, R replicas. s is cosine similarity, tau the temperature.

**Across replicas** a function takes this replica's rows, all replicas' rows (`gather_rows`) and where the own
ones stand among them (`own_rows`; for `info_nce` these are `positives`, and a queue is the same for all); it
returns the mean over the own rows. `likewise.collectives` says why DDP's mean of gradients is then the
single-process gradient. Memory is linear in B + M throughout.
"""

from __future__ import annotations

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
    check_matrix,
    check_pairs,
    check_places,
    check_rows,
    inverse,
    objective,
    own_places,
    row_mean,
    unit_rows,
)
from ._rules import Rules, Teacher, Tile, group_shares
from ._tiles import compare, row_sums

__all__ = ["info_nce", "clip_loss", "moco_loss", "nt_xent"]


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

    Soft targets come in two forms: held by the caller (`targets`), or made tile by tile from a teacher's
    features, which stays linear in memory: target_weight * softmax(teacher similarity) + (1 - target_weight)
    * hard target.

    Args:
        queries: (B, D) any float dtype.
        keys: (M, D), further keys such as a queue after the batch's own.
        positives: (B,) int64 index of each query's key; row i matches key i when None.
        temperature: above 0; a tensor gets its gradient.
        group_queries: (B,) int64, equal for equal things.
        group_keys: (M,) int64.
        same_group: what other keys of the query's own group are: "left_out" of the sum (no negatives), or
            "shared": positives, over which the hard target's mass is spread evenly. With `targets`, which
            say that themselves, "shared" only keeps them in the sum.
        targets: (B, M) soft targets in place of the hard one; rows usually sum to 1. Those of keys that are
            left out of the sum count 0.
        target_queries: (B, D') of a teacher; no gradient goes to it.
        target_keys: (M, D') of a teacher.
        target_weight: share of the teacher in the target, in [0, 1].
        target_temperature: the teacher's; `temperature` without gradient when None.
        normalize: bring features, a teacher's too, to unit length; otherwise they are taken as they are.
        precision: "bfloat16" takes the matrix products in bf16, sums stay float32.
        tile: (rows, columns) of a tile, and no dense way; found from the shapes when None.

    Returns:
        Scalar, nats, mean over the queries.

    Raises:
        ValueError: shapes that do not fit, a word that is no choice, places outside the keys (on an
            accelerator only inside `checked_inputs`), a query whose group has no key under "shared", soft
            targets of both forms, a weight or temperature of a teacher that there is not.

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
    shares = None
    if same_group == "shared":
        shares = _shares(group_queries, group_keys)
    rules = Rules(
        positives=positives,
        group_queries=group_queries,
        group_keys=group_keys,
        shares=shares,
        normalize=normalize,
        precision=precision,
        tile=tile,
    )
    if targets is not None:
        return _with_targets(queries, keys, scale, rules, targets)
    if target_queries is None or target_keys is None:
        result = compare(queries, keys, scale, rules)
        assert result.hard is not None
        return row_mean(result.hard, scale.dtype)
    warmth = temperature if target_temperature is None else target_temperature
    check_matrix(target_queries=target_queries, target_keys=target_keys)
    if (len(target_queries), len(target_keys)) != (len(queries), len(keys)):
        raise ValueError(
            f"a teacher has a row for each of {len(queries)} queries and {len(keys)} keys, got "
            f"target_queries {tuple(target_queries.shape)} and target_keys {tuple(target_keys.shape)}"
        )
    scale_of_teacher = inverse(warmth, queries).detach()
    teacher = Teacher(target_queries.detach(), target_keys.detach(), scale_of_teacher, normalize)
    result = compare(queries, keys, scale, replace(rules, teacher=teacher))
    assert result.hard is not None
    assert result.soft is not None
    return row_mean(target_weight * result.soft + (1 - target_weight) * result.hard, scale.dtype)


@objective
def clip_loss(
    images: Tensor,
    texts: Tensor,
    *,
    temperature: float | Tensor,
    all_images: Tensor | None = None,
    all_texts: Tensor | None = None,
    rows: Tensor | None = None,
    groups: Tensor | None = None,
    all_groups: Tensor | None = None,
    normalize: bool = True,
    precision: Precision = None,
    tile: tuple[int, int] | None = None,
) -> Tensor:
    """Mean of image-to-text and text-to-image InfoNCE.

    In one process both directions share one pass over the similarities: four matrix products in all.

    Args:
        images: (b, D) this replica's rows.
        texts: (b, D), row i matches image i.
        temperature: above 0; a tensor gets its gradient. (CLIP learns log(1 / temperature).)
        all_images: (B, D) the rows of all replicas; the own ones when None.
        all_texts: (B, D).
        rows: (b,) int64 where the own rows stand among all; required with gathered rows.
        groups: (b,) int64; equal ones (captions of one photo) are no negatives.
        all_groups: (B,) of all replicas.
        normalize: bring features to unit length.
        precision: "bfloat16" takes the matrix products in bf16, sums stay float32.
        tile: (rows, columns) of a tile, and no dense way; found from the shapes when None.

    Returns:
        Scalar, nats, mean over the own pairs and the two directions.

    Reference:
        Radford et al. 2021, arXiv 2103.00020, figure 3.
    """
    check_pairs(images=images, texts=texts)
    all_images, all_texts = _gathered(images, all_images), _gathered(texts, all_texts)
    all_groups = groups if all_groups is None else all_groups
    if all_images is images and all_texts is texts:
        check_finite(images=images, texts=texts)
        check_groups(len(images), len(texts), groups=groups, all_groups=all_groups)
        rules = Rules(
            positives=_positives(None, images, texts),
            group_queries=groups,
            group_keys=all_groups,
            columns=True,
            normalize=normalize,
            precision=precision,
            tile=tile,
        )
        scale = inverse(temperature, images)
        result = compare(images, texts, scale, rules)
        assert result.hard is not None
        assert result.columns is not None
        return row_mean((result.hard + result.columns) / 2, scale.dtype)
    rows = own_places(rows, images, all_images, gathered=True)
    directions = [
        info_nce(
            own,
            others,
            rows,
            temperature=temperature,
            group_queries=groups,
            group_keys=all_groups,
            normalize=normalize,
            precision=precision,
            tile=tile,
        )
        for own, others in ((images, all_texts), (texts, all_images))
    ]
    return (directions[0] + directions[1]) / 2


@objective
def nt_xent(
    first: Tensor,
    second: Tensor,
    *,
    temperature: float | Tensor,
    all_first: Tensor | None = None,
    all_second: Tensor | None = None,
    rows: Tensor | None = None,
    groups: Tensor | None = None,
    all_groups: Tensor | None = None,
    normalize: bool = True,
    precision: Precision = None,
    tile: tuple[int, int] | None = None,
) -> Tensor:
    """Each of 2B views against the other 2B - 1, itself left out.

    In one process only similarities on and above the diagonal are computed: two matrix products in all.

    Args:
        first: (b, D) one view of this replica's samples.
        second: (b, D) another.
        temperature: above 0; a tensor gets its gradient.
        all_first: (B, D) the rows of all replicas; the own ones when None.
        all_second: (B, D).
        rows: (b,) int64 where the own rows stand among all; required with gathered rows.
        groups: (b,) int64; views of equal ones (copies of one picture) are no negatives.
        all_groups: (B,) of all replicas.
        normalize: bring features to unit length.
        precision: "bfloat16" takes the matrix products in bf16, sums stay float32.
        tile: (rows, columns) of a tile, and no dense way; found from the shapes when None.

    Returns:
        Scalar, nats, mean over the 2b own views.

    Reference:
        Chen et al. 2020, arXiv 2002.05709, eq. 1; equal groups are left out here.
    """
    check_pairs(first=first, second=second)
    check_finite(first=first, second=second)
    all_first, all_second = _gathered(first, all_first), _gathered(second, all_second)
    queries = torch.cat([first, second])  # (2b, D)
    alone = all_first is first and all_second is second
    here = own_places(rows, first, all_first, gathered=not alone)
    total = all_first.shape[0]
    all_groups = groups if all_groups is None else all_groups
    check_groups(len(first), total, groups=groups, all_groups=all_groups)
    rules = Rules(
        positives=torch.cat([here + total, here]),
        excluded=torch.cat([here, here + total]),
        group_queries=None if groups is None else groups.repeat(2),
        group_keys=None if all_groups is None else all_groups.repeat(2),
        symmetric=alone,
        normalize=normalize,
        precision=precision,
        tile=tile,
    )
    keys = queries if alone else torch.cat([all_first, all_second])  # (2B, D)
    scale = inverse(temperature, first)
    result = compare(queries, keys, scale, rules)
    assert result.hard is not None
    return row_mean(result.hard, scale.dtype)


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
    """Each query's own key against a queue of other samples' keys; the batch's other keys take no part.

    Args:
        queries: (B, D).
        keys: (B, D), row i matches query i; gets no gradient.
        queue: (K, D); gets no gradient.
        temperature: above 0; a tensor gets its gradient.
        groups: (B,) int64.
        queue_groups: (K,) int64; keys of a query's own group (its own key of an earlier epoch, say) are no
            negatives.
        normalize: bring features to unit length.
        precision: "bfloat16" takes the matrix products in bf16, sums stay float32.
        tile: (rows, columns) of a tile, and no dense way; found from the shapes when None.

    Returns:
        Scalar, nats, mean over the queries.

    Reference:
        He et al. 2019, arXiv 1911.05722, eq. 1 and algorithm 1; equal groups are left out here.
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


def _check_one_target(
    targets: Tensor | None,
    target_queries: Tensor | None,
    target_keys: Tensor | None,
    target_weight: float | Tensor,
    target_temperature: float | Tensor | None,
) -> None:
    """What would say nothing is refused: a weight without a teacher, a teacher beside given targets."""
    if (target_queries is None) != (target_keys is None):
        raise ValueError("a teacher needs both target_queries and target_keys")
    if targets is not None and target_queries is not None:
        raise ValueError("soft targets come from `targets` or from a teacher, not from both")
    weighed = isinstance(target_weight, Tensor) or target_weight != 1.0
    if target_queries is None and (weighed or target_temperature is not None):
        raise ValueError(
            "target_weight and target_temperature are a teacher's: give target_queries and target_keys"
        )


def _gathered(own: Tensor, everyone: Tensor | None) -> Tensor:
    return own if everyone is None else everyone


def _positives(positives: Tensor | None, queries: Tensor, keys: Tensor) -> Tensor:
    if positives is None:
        if queries.shape[0] > keys.shape[0]:
            raise ValueError(
                f"{queries.shape[0]} queries but {keys.shape[0]} keys: query i matches key i unless "
                "`positives` says otherwise"
            )
        return torch.arange(queries.shape[0], device=queries.device)
    check_rows(queries.shape[0], positives=positives)
    check_places(keys.shape[0], positives=positives)
    return positives


def _shares(own: Tensor | None, others: Tensor | None) -> Tensor:
    if own is None or others is None:
        raise ValueError('same_group="shared" needs group_queries and group_keys')
    shares = group_shares(own, others, None)
    if bool((shares == 0).any()):
        raise ValueError(
            f"query {int((shares == 0).nonzero()[0])} has no key of its group to share the target"
        )
    return shares


def _with_targets(queries: Tensor, keys: Tensor, scale: Tensor, rules: Rules, targets: Tensor) -> Tensor:
    if targets.shape != (queries.shape[0], keys.shape[0]):
        raise ValueError(
            f"targets must be {(queries.shape[0], keys.shape[0])} for these queries and keys, got "
            f"{tuple(targets.shape)}"
        )
    if rules.shares is not None:  # group mates are keys like others then, the targets say the rest
        rules = replace(rules, shares=None, group_queries=None, group_keys=None)
    targets = targets.detach()
    left_out = rules.mask(Tile(0, queries.shape[0], 0, keys.shape[0]))
    if left_out is not None:
        targets = targets.masked_fill(left_out, 0.0)
    rules = replace(rules, targets=targets)
    result = compare(queries, keys, scale, rules)
    assert result.soft is not None
    return row_mean(result.soft, scale.dtype)
