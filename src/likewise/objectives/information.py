"""Local-global mutual information; alignment and uniformity on the sphere.

Legend: b own samples, B samples of all processes, L locals of a sample (patches, words), D feature width.
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
    check_shape,
    inverse,
    inverse_lengths,
    objective,
    own_divisor,
    own_indices,
    row_mean,
    scalar,
    unit_rows,
)
from ._rules import Rules
from ._tiles import MASKED, fits_dense, row_sums

__all__ = ["alignment", "information_bound", "local_information", "num_candidates", "uniformity"]


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
        local: (b, L, D) locals of this process's samples.
        global_: (b, D).
        temperature: above 0; a tensor gets its gradient.
        mask: (b, L) bool, true for locals that exist; all when None.
        all_local: (B, L', D) of all processes; the own ones when None.
        all_mask: (B, L'); required with gathered locals that have a mask.
        rows: (b,) int64 indices of the own samples among all; required with gathered ones.
        groups: (b,) int64 group ids; locals of the own group are never negatives. One sample a group when
            None.
        all_groups: (B,) of all processes.
        normalize: bring features to unit length.

    Returns:
        Scalar, nats, mean over a sample's locals, then over the samples that have any; 0 when none has.

    Reference:
        Yang et al. 2022, arXiv 2202.10401, eq. 7 and 8.
    """
    others = local if all_local is None else all_local
    if mask is not None and all_mask is None and others is not local:
        raise ValueError("gathered locals with a mask need all_mask=gather_rows(mask, lengths_vary=True)")
    _check_locals(local, global_)
    if all_mask is None:
        all_mask = mask if mask is not None else others.new_ones(others.shape[:2], dtype=torch.bool)
    check_shape(local.shape[:2], mask=mask)
    check_shape(others.shape[:2], all_mask=all_mask)
    all_mask = all_mask.bool()
    rows = own_indices(rows, local, others)
    all_groups = groups if all_groups is None else all_groups
    check_groups(len(local), len(others), groups=groups, all_groups=all_groups)
    if groups is None or all_groups is None:
        groups, all_groups = rows, torch.arange(others.shape[0], device=rows.device)
    check_finite(local=local, global_=global_)
    scale = inverse(temperature, global_)
    if fits_dense(global_.shape[0] * others.shape[0] * others.shape[1], global_.device):
        b, (B, L, D) = global_.shape[0], others.shape
        logits = cosine_logits(global_, others.reshape(B * L, D), scale, normalize).view(b, B, L)
        positive = logits[torch.arange(b, device=rows.device), rows]  # (b, L)
        masked = ~all_mask | (groups[:, None] == all_groups)[:, :, None]  # (b, B, L)
        negatives = logits.masked_fill(masked, MASKED).flatten(1).logsumexp(1)
    else:
        own = unit_rows(others[rows], normalize)  # (b, L, D)
        positive = torch.bmm(own, (unit_rows(global_, normalize) * scale)[:, :, None]).squeeze(2)
        samples = all_mask.nonzero()[:, 0]  # (K,) of the locals that exist
        rules = Rules(group_queries=groups, group_keys=all_groups[samples], normalize=normalize)
        negatives = row_sums(global_, others[all_mask], scale, rules)
    own_mask = all_mask[rows]  # (b, L'), as long as the longest of all processes
    terms = F.softplus(negatives[:, None].to(positive.dtype) - positive).masked_fill(~own_mask, 0.0)
    per_sample = terms.sum(1) / own_mask.sum(1).clamp_min(1)
    divisor = own_divisor(all_mask.any(1).sum(), local, others)
    return (per_sample.sum() / divisor).to(scale.dtype)


@torch.no_grad()
def num_candidates(group_queries: Tensor | None, group_keys: Tensor, weights: Tensor | None = None) -> Tensor:
    """How many keys each query chooses its positive from: those of other groups, and the positive.

    Args:
        group_queries: (b,) int64 group ids; None where no key is left out, so that all M are candidates.
        group_keys: (M,) int64.
        weights: (M,) keys that each entry stands for, such as a sample's locals; 1 when None.

    Returns:
        (b,) float64, or (1,) where no key is left out.
    """
    each = torch.ones_like(group_keys) if weights is None else weights
    total = each.sum().double()
    if group_queries is None:
        return total[None]
    ordered, order = group_keys.sort()
    sums = torch.cat([each.new_zeros(1), each[order].cumsum(0)])  # (M + 1,)
    left_out = sums[torch.searchsorted(ordered, group_queries, right=True)]
    left_out = left_out - sums[torch.searchsorted(ordered, group_queries)]
    return 1 + total - left_out


@torch.no_grad()
def information_bound(loss: Tensor, candidates: Tensor) -> Tensor:
    """A lower bound on the mutual information of queries and keys: log(candidates) - InfoNCE.

    It cannot exceed log(candidates), however much the two tell of each other.

    Args:
        loss: scalar, InfoNCE with one-hot targets, in nats.
        candidates: (b,) or (1,), above 0; see `num_candidates`.

    Returns:
        Scalar, nats.

    Reference:
        van den Oord et al. 2018, arXiv 1807.03748, eq. 5; Yang et al. 2022, arXiv 2202.10401, section 3.
    """
    return candidates.double().log().mean().to(loss.dtype) - loss.detach()


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
    difference = unit_rows(first) - unit_rows(second)
    squared = (difference * difference).sum(1)
    if power != 2:
        squared = torch.where(squared > 0, squared, 1.0).pow(power / 2) * (squared > 0)
    return row_mean(squared, squared.dtype)


@objective
def uniformity(features: Tensor, *, t: float = 2.0) -> Tensor:
    """Logarithm of the mean Gaussian potential of all pairs on the unit sphere; smaller is more uniform.

    A statistic of the whole batch: with several processes pass `gather_rows(features)`.

    Args:
        features: (B, D), two rows at least. Zero rows count as one further direction, orthogonal to all
            others.
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
        raise ValueError(f"uniformity needs at least two rows, got {count}")
    # -t |x - y|^2 = 2 t x.y - 2 t on the unit sphere: log-sum-exp of logits with scale 2 t.
    itself = torch.arange(count, device=features.device)
    scale = scalar(2 * t, features)
    total = row_sums(features, features, scale, Rules(excluded=itself, symmetric=True)).logsumexp(0)
    # The product of two zero rows is 0, as if they were orthogonal; but they are equal.
    zero_rows = (inverse_lengths(features.detach()) == 0).sum().to(total.dtype)
    total = torch.logaddexp(total, (zero_rows * (zero_rows - 1) * math.expm1(2 * t)).log())
    return (total - math.log(count * (count - 1)) - 2 * t).to(scale.dtype)


def _check_locals(local: Tensor, global_: Tensor) -> None:
    check_matrix(global_=global_)
    B, D = global_.shape
    if local.dim() != 3 or local.shape[0] != B or local.shape[2] != D:
        raise ValueError(f"local must be (b, L, D) with b = {B} and D = {D}, got {tuple(local.shape)}")
