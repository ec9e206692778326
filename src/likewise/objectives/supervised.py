"""Contrast with labels: rows of one label are positives.

Legend: b own rows, B rows of all processes, D feature width.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ._numerics import (
    Precision,
    check_finite,
    check_matrix,
    check_shape,
    inverse,
    objective,
    own_divisor,
    own_indices,
)
from ._rules import Rules, group_shares
from ._tiles import compare

__all__ = ["supervised_contrastive"]


@objective
def supervised_contrastive(
    features: Tensor,
    labels: Tensor,
    *,
    temperature: float | Tensor,
    all_features: Tensor | None = None,
    all_labels: Tensor | None = None,
    rows: Tensor | None = None,
    normalize: bool = True,
    precision: Precision = None,
    tile: tuple[int, int] | None = None,
) -> Tensor:
    """-log softmax over all other rows, averaged over the positives outside the logarithm.

    Args:
        features: (b, D); several views of a sample are several rows.
        labels: (b,) int64.
        temperature: above 0; a tensor gets its gradient.
        all_features: (B, D) rows of all processes; the own rows when None.
        all_labels: (B,).
        rows: (b,) int64 indices of the own rows among all; required with gathered rows.
        normalize: bring features to unit length.
        precision: "bfloat16" computes the matrix products in bf16, sums stay float32.
        tile: (rows, columns) of a tile; always streams. Chosen by shape when None.

    Returns:
        Scalar, nats, mean over the anchors that have a positive; 0 when none has.

    Reference:
        Khosla et al. 2020, arXiv 2004.11362, eq. 2 (L_out).
    """
    everyone = features if all_features is None else all_features
    check_matrix(features=features, all_features=everyone)
    check_finite(features=features)
    all_labels = labels if all_labels is None else all_labels
    check_shape(features.shape[:1], labels=labels)
    check_shape(everyone.shape[:1], all_labels=all_labels)
    rows = own_indices(rows, features, everyone)
    # For the rows of all processes: each must know how many anchors there are.
    all_shares = group_shares(all_labels, all_labels, torch.arange(len(all_labels), device=features.device))
    shares = all_shares[rows]
    rules = Rules(
        excluded=rows,
        group_queries=labels,
        group_keys=all_labels,
        shares=shares,
        symmetric=everyone is features,
        normalize=normalize,
        precision=precision,
        tile=tile,
    )
    scale = inverse(temperature, features)
    own = torch.where(shares > 0, compare(features, everyone, scale, rules).hard, 0.0).sum()
    return (own / own_divisor((all_shares > 0).sum(), labels, all_labels)).to(scale.dtype)
