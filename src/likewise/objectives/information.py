"""How much parts tell of their whole, and how features lie on the sphere.

Legend: b own samples, B samples of all replicas, L locals of a sample (patches, words), D feature width.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from ._cosine import cosine_logits
from ._numerics import (
    check_finite,
    check_groups,
    check_matrix,
    check_pairs,
    check_positive,
    inverse,
    inverse_lengths,
    objective,
    own_places,
    row_mean,
    scalar,
    unit_rows,
)
from ._rules import Rules
from ._tiles import LEFT_OUT, fits_dense, row_sums

__all__ = ["alignment", "local_information", "uniformity"]


@objective
def local_information(
    local: Tensor,
    global_: Tensor,
    *,
    temperature: float | Tensor,
    mask: Tensor | None = None,
    all_local: Tensor | None = None,
    all_mask: Tensor | None = None,
    rows: Tensor | None = None,
    groups: Tensor | None = None,
    all_groups: Tensor | None = None,
    normalize: bool = True,
) -> Tensor:
    """Each sample's global feature must find each of its own locals among the other samples' locals.

    For local l of sample i: -log exp(g_i l / tau) / (exp(g_i l / tau) + sum over the other samples' locals l'
    of exp(g_i l' / tau)). That sum is the same for every l of i, so (B, B L) logits are enough.

    Args:
        local: (b, L, D) locals of this replica's samples.
        global_: (b, D).
        temperature: above 0; a tensor gets its gradient.
        mask: (b, L) bool, true for locals that exist; all when None.
        all_local: (B, L', D) of all replicas; the own ones when None.
        all_mask: (B, L'); required with gathered locals that have a mask.
        rows: (b,) int64 where the own samples stand among all; required with gathered ones.
        groups: (b,) int64; locals of samples of the own group are no negatives. Each its own when None.
        all_groups: (B,) of all replicas.
        normalize: bring features to unit length.

    Returns:
        Scalar, nats, mean over a sample's locals, then over the samples that have any; 0 when none has.

    Reference:
        Yang et al. 2022, arXiv 2202.10401, eq. 7 and 8.
    """
    alone = all_local is None or all_local is local
    if mask is not None and all_mask is None and not alone:
        raise ValueError("gathered locals with a mask need all_mask=gather_rows(mask, lengths_vary=True)")
    others = local if all_local is None else all_local
    mask = _full(local) if mask is None else mask.bool()
    all_mask = (mask if alone else _full(others)) if all_mask is None else all_mask.bool()
    _check_locals(local, global_, mask, others, all_mask)
    rows = own_places(rows, local, others, gathered=not alone)
    all_groups = groups if all_groups is None else all_groups
    check_groups(len(local), len(others), groups=groups, all_groups=all_groups)
    if groups is None or all_groups is None:
        groups, all_groups = rows, torch.arange(others.shape[0], device=rows.device)
    check_finite(local=local, global_=global_)
    scale = inverse(temperature, global_)
    same = (groups, all_groups)
    few = fits_dense(global_.shape[0] * others.shape[0] * others.shape[1], global_.device)
    positive, negatives = (_whole_table if few else _streamed_table)(
        global_, others, all_mask, rows, same, scale, normalize
    )
    mask = all_mask[rows]  # (b, L'): the own ones, as long as the longest of all replicas
    terms = F.softplus(negatives[:, None].to(positive.dtype) - positive).masked_fill(~mask, 0.0)
    per_sample = terms.sum(1) / mask.sum(1).clamp_min(1)
    share = global_.shape[0] / max(others.shape[0], 1)
    samples = all_mask.any(1).sum() * share  # left on the device
    return (per_sample.sum() / samples.clamp_min(share or 1.0)).to(scale.dtype)


def _whole_table(
    global_: Tensor,
    others: Tensor,
    mask: Tensor,
    rows: Tensor,
    groups: tuple[Tensor, Tensor],
    scale: Tensor,
    normalize: bool,
) -> tuple[Tensor, Tensor]:
    """(b, L) logits of the own locals and (b,) log-sum-exp over the other samples', from (b, B L) logits."""
    b, (B, L, D) = global_.shape[0], others.shape
    logits = cosine_logits(global_, others.reshape(B * L, D), scale, normalize).view(b, B, L)
    here = torch.arange(b, device=rows.device)
    hidden = ~mask | (groups[0][:, None] == groups[1])[:, :, None]  # (b, B, L)
    return logits[here, rows], logits.masked_fill(hidden, LEFT_OUT).flatten(1).logsumexp(1)


def _streamed_table(
    global_: Tensor,
    others: Tensor,
    mask: Tensor,
    rows: Tensor,
    groups: tuple[Tensor, Tensor],
    scale: Tensor,
    normalize: bool,
) -> tuple[Tensor, Tensor]:
    """The same, a tile of logits at a time."""
    own = unit_rows(others[rows], normalize)  # (b, L, D)
    positive = torch.bmm(own, (unit_rows(global_, normalize) * scale)[:, :, None]).squeeze(2)
    owners = mask.nonzero()[:, 0]  # (K,) of the locals that exist
    rules = Rules(group_queries=groups[0], group_keys=groups[1][owners], normalize=normalize)
    return positive, row_sums(global_, others[mask], scale, rules)


@objective
def alignment(first: Tensor, second: Tensor, *, power: float = 2.0) -> Tensor:
    """Mean distance of positives on the unit sphere, to the given power; smaller is better.

    Args:
        first: (B, D).
        second: (B, D), row i is the positive of row i.
        power: alpha of the paper.

    Returns:
        Scalar.

    Reference:
        Wang and Isola 2020, arXiv 2005.10242, section 4.1.
    """
    check_pairs(first=first, second=second)
    check_finite(first=first, second=second)
    apart = unit_rows(first) - unit_rows(second)
    squared = (apart * apart).sum(1)
    if power != 2:
        squared = torch.where(squared > 0, squared, 1.0).pow(power / 2) * (squared > 0)
    return row_mean(squared, squared.dtype)


@objective
def uniformity(features: Tensor, *, t: float = 2.0) -> Tensor:
    """Logarithm of the mean Gaussian potential of all pairs on the unit sphere; smaller is more even.

    A statistic of the whole batch: across replicas pass `gather_rows(features)`; each then has the whole
    value.

    Args:
        features: (B, D), two rows at least. Rows of zeros count as one further direction, at a right angle
            to all others.
        t: width of the potential exp(-t d^2).

    Returns:
        Scalar, at most 0.

    Reference:
        Wang and Isola 2020, arXiv 2005.10242, section 4.1.
    """
    check_matrix(features=features)
    check_positive("t", t)
    check_finite(features=features)
    count = features.shape[0]
    if count < 2:
        raise ValueError(f"uniformity needs two rows at least, got {count}")
    # -t |x - y|^2 = 2 t x.y - 2 t on the unit sphere: log-sum-exp of logits with scale 2 t.
    itself = torch.arange(count, device=features.device)
    scale = scalar(2 * t, features)
    total = row_sums(features, features, scale, Rules(excluded=itself, symmetric=True)).logsumexp(0)
    # Two rows without direction have the product 0, as if at a right angle; but they are the same.
    still = (inverse_lengths(features.detach()) == 0).sum().to(total.dtype)
    total = torch.logaddexp(total, (still * (still - 1) * math.expm1(2 * t)).log())
    return (total - math.log(count * (count - 1)) - 2 * t).to(scale.dtype)


def _full(local: Tensor) -> Tensor:
    return torch.ones(local.shape[:2], dtype=torch.bool, device=local.device)


def _check_locals(local: Tensor, global_: Tensor, mask: Tensor, others: Tensor, all_mask: Tensor) -> None:
    check_matrix(global_=global_)
    B, D = global_.shape
    if local.dim() != 3 or local.shape[0] != B or local.shape[2] != D:
        raise ValueError(f"local must be (b, L, D) with b = {B} and D = {D}, got {tuple(local.shape)}")
    if mask.shape != local.shape[:2] or all_mask.shape != others.shape[:2]:
        raise ValueError(
            f"masks must be (b, L): {tuple(local.shape[:2])} and {tuple(others.shape[:2])}, got "
            f"{tuple(mask.shape)} and {tuple(all_mask.shape)}"
        )
