"""Metric objectives: distances with margins. Distances come from the Gram matrix, not from differences.

Legend: b own rows, B rows of all processes, D feature width; a anchor, p positive, n negative, m margin.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from ._numerics import (
    check_choice,
    check_finite,
    check_margin,
    check_matrix,
    check_pairs,
    check_shape,
    compute_dtype,
    objective,
    own_divisor,
    own_indices,
    row_mean,
    sum_dtype,
    unit_rows,
)
from ._rules import group_counts
from ._strips import distances, map_strips, squared_distances

__all__ = ["pair_loss", "siamese_loss", "triplet_loss"]


@objective
def siamese_loss(
    first: Tensor, second: Tensor, same: Tensor, *, margin: float = 1.0, normalize: bool = True
) -> Tensor:
    """Contrastive loss of given pairs: equal ones are pulled together, different ones pushed to the margin.

    Args:
        first: (B, D).
        second: (B, D).
        same: (B,) bool.
        margin: distance beyond which different pairs no longer count.
        normalize: bring features to unit length (distances are then at most 2).

    Returns:
        Scalar, mean over the pairs of d^2 / 2 or max(0, m - d)^2 / 2.

    Reference:
        Hadsell et al. 2006, eq. 4.
    """
    check_pairs(first=first, second=second)
    check_shape(first.shape[:1], same=same)
    check_finite(first=first, second=second)
    check_margin(margin)
    difference = unit_rows(first, normalize) - unit_rows(second, normalize)
    squared = (difference * difference).sum(1)
    return row_mean(_hadsell(squared, same.bool(), margin), squared.dtype)


@objective
def pair_loss(
    features: Tensor,
    labels: Tensor,
    *,
    margin: float = 1.0,
    all_features: Tensor | None = None,
    all_labels: Tensor | None = None,
    rows: Tensor | None = None,
    normalize: bool = True,
) -> Tensor:
    """`siamese_loss` over every pair of the batch; rows of one label are equal.

    Args:
        features: (b, D) rows of this process.
        labels: (b,) int64.
        margin: distance beyond which different pairs no longer count.
        all_features: (B, D) rows of all processes; the own rows when None.
        all_labels: (B,).
        rows: (b,) int64 indices of the own rows among all; required with gathered rows.
        normalize: bring features to unit length.

    Returns:
        Scalar, mean over the pairs of different rows; 0 for a single row.

    Reference:
        Hadsell et al. 2006, eq. 4.
    """
    anchors, others, rows, all_labels = _batch(
        features, labels, all_features, all_labels, rows, margin, normalize
    )

    def per_anchor(own: Tensor, label: Tensor, place: Tensor) -> Tensor:
        terms = _hadsell(squared_distances(own, others), label[:, None] == all_labels, margin)
        return terms.scatter(1, place[:, None], 0.0).sum(1)

    values = map_strips(per_anchor, others.shape[0], anchors, labels, rows)
    return row_mean(values, anchors.dtype) / max(others.shape[0] - 1, 1)


@objective
def triplet_loss(
    features: Tensor,
    labels: Tensor,
    *,
    margin: float = 0.2,
    mining: Literal["all", "hard", "semihard"] = "all",
    squared: bool | None = None,
    all_features: Tensor | None = None,
    all_labels: Tensor | None = None,
    rows: Tensor | None = None,
    normalize: bool = True,
) -> Tensor:
    """An anchor's positive must be nearer than its negative by the margin: max(0, d(a, p) - d(a, n) + m).

    - "all": every triplet, by sorting each anchor's negatives: B^2 log B work, memory linear in B.
    - "hard": each anchor's farthest positive and nearest negative.
    - "semihard": for each pair (a, p) the nearest negative that is farther than p, so that the loss is at
      most m; a pair without one counts 0.

    Args:
        features: (b, D) rows of this process.
        labels: (b,) int64.
        margin: m.
        mining: which triplets.
        squared: whether d is the squared distance; None: as in the papers, no for "hard", else yes.
        all_features: (B, D) rows of all processes; the own rows when None.
        all_labels: (B,).
        rows: (b,) int64 indices of the own rows among all; required with gathered rows.
        normalize: bring features to unit length.

    Returns:
        Scalar: mean over all triplets ("all"), over anchors with a positive and a negative ("hard"), over
        pairs (a, p) whose anchor has a negative ("semihard"); 0 when there are none. Triplets beyond the
        margin count too.

    Reference:
        Schroff et al. 2015, arXiv 1503.03832, eq. 2 to 4; batch-hard: Hermans et al. 2017, arXiv 1703.07737,
        eq. 5.
    """
    check_choice("mining", mining, ("all", "hard", "semihard"))
    anchors, others, rows, all_labels = _batch(
        features, labels, all_features, all_labels, rows, margin, normalize
    )
    squared = mining != "hard" if squared is None else squared
    divisor = own_divisor(_num_triplets(all_labels, mining), labels, all_labels)

    def per_anchor(own: Tensor, label: Tensor, place: Tensor) -> Tensor:
        apart = squared_distances(own, others)
        apart = apart if squared else distances(apart)
        same = label[:, None] == all_labels
        positive = same.scatter(1, place[:, None], False)
        return _sorted_triplets(apart, same, positive, margin, semihard=mining == "semihard")

    if mining == "hard":
        values = _hardest(anchors, others, labels, all_labels, rows, margin, squared)
    else:
        values = map_strips(per_anchor, others.shape[0], anchors, labels, rows)
    return (values.sum() / divisor).to(anchors.dtype)


def _hadsell(squared: Tensor, same: Tensor, margin: float) -> Tensor:
    missing = (margin - distances(squared)).clamp_min(0)
    return torch.where(same, squared, missing * missing) / 2


def _hardest(
    anchors: Tensor,
    others: Tensor,
    labels: Tensor,
    all_labels: Tensor,
    rows: Tensor,
    margin: float,
    squared: bool,
) -> Tensor:
    """(b,) farthest positive against nearest negative, 0 where either is missing.

    The two rows are found without a graph; only their distances have one.
    """
    if others.shape[0] == 0:  # no rows on any process
        return anchors.sum(1)

    @torch.no_grad()
    def choose(own: Tensor, label: Tensor, place: Tensor) -> Tensor:
        apart = squared_distances(own, others)
        same = label[:, None] == all_labels
        positive = same.scatter(1, place[:, None], False)
        far = torch.where(positive, apart, -1.0).argmax(1)  # distances are >= 0: -1 loses against any
        near = apart.masked_fill_(same, torch.inf).argmin(1)
        both = positive.any(1) & ~same.all(1)
        return torch.stack([far, near, both.long()], 1)

    chosen = map_strips(choose, others.shape[0], anchors.detach(), labels, rows)
    gaps = []
    for index in (chosen[:, 0], chosen[:, 1]):
        difference = anchors - others[index]
        apart = (difference * difference).sum(1)
        gaps.append(apart if squared else distances(apart))
    return torch.where(chosen[:, 2] > 0, gaps[0] - gaps[1] + margin, 0.0).clamp_min(0)


def _sorted_triplets(
    apart: Tensor, same: Tensor, positive: Tensor, margin: float, *, semihard: bool
) -> Tensor:
    """(r, B) distances to (r,) sums over triplets, from each row's negatives sorted by distance."""
    r, p = positive.nonzero(as_tuple=True)  # the pairs (a, p) of this strip
    ordered = torch.where(same, torch.inf, apart).sort(1).values  # (r, B), positives and self at the end
    to_positive = apart[r, p]
    reach = to_positive if semihard else to_positive + margin
    wanted = torch.full_like(apart, -1.0).index_put((r, p), reach.detach())
    # Number of the row's negatives within reach of each positive.
    count = torch.searchsorted(ordered.detach(), wanted, right=semihard)[r, p]
    available = (~same).sum(1)[r]
    if semihard:
        found = count < available
        negative = ordered[r, torch.where(found, count, 0)]
        gaps = to_positive - torch.where(found, negative, 0.0) + margin
        terms = torch.where(found, gaps.clamp_min(0), 0.0)
    else:
        # float64: the difference of a product and a long running sum.
        running = torch.where(ordered.isinf(), 0.0, ordered).to(sum_dtype(apart)).cumsum(1)
        before = torch.where(count > 0, running[r, (count - 1).clamp_min(0)], 0.0)
        terms = (to_positive.to(running.dtype) + margin) * count - before
    return torch.zeros(apart.shape[0], dtype=terms.dtype, device=apart.device).index_add(0, r, terms)


def _num_triplets(labels: Tensor, mining: str) -> Tensor:
    """0-d number of triplets of (B,) labels: one for each anchor (hard), each anchor and positive (semihard),
    or each anchor, positive and negative (all)."""
    sizes = group_counts(labels, labels)
    positives, negatives = sizes - 1, labels.shape[0] - sizes
    if mining == "all":
        return (positives * negatives).sum()
    return ((positives > 0 if mining == "hard" else positives) * (negatives > 0)).sum()


def _batch(
    features: Tensor,
    labels: Tensor,
    all_features: Tensor | None,
    all_labels: Tensor | None,
    rows: Tensor | None,
    margin: float,
    normalize: bool,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Own rows, all rows, own indices, all labels, checked; rows have unit length or are centred."""
    others = features if all_features is None else all_features
    check_matrix(features=features, all_features=others)
    check_finite(features=features)
    all_labels = labels if all_labels is None else all_labels
    rows = own_indices(rows, features, others)
    check_shape(features.shape[:1], labels=labels)
    check_shape(others.shape[:1], all_labels=all_labels)
    check_margin(margin)
    if not normalize:  # same distances; far from the origin the Gram matrix would lose them in rounding
        centre = others.detach().to(compute_dtype(others)).mean(0)
        own = features - centre
        return own, own if others is features else others - centre, rows, all_labels
    anchors = unit_rows(features)
    return anchors, anchors if others is features else unit_rows(others), rows, all_labels
