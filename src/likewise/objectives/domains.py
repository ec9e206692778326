"""Domain adaptation: make the features of two domains alike.

Legend: N source rows, M target rows, D feature width, C classes.

`mmd`, `coral` and `mean_difference` are statistics of the whole batch: with several processes pass gathered
features. Each process then computes the whole value, and DDP's mean of gradients is the single-process
gradient.
"""

from __future__ import annotations

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from ._numerics import (
    check_finite,
    check_matrix,
    check_pairs,
    check_positive,
    compute_dtype,
    objective,
    row_mean,
    scalar,
    sum_dtype,
)
from ._strips import map_strips, squared_distances

__all__ = [
    "coral",
    "cross_view_consistency",
    "gradient_reversal",
    "mean_difference",
    "mmd",
    "reversal_strength",
]

# Rows of each domain for the median distance: a million pairs are enough, and memory stays bounded.
MEDIAN_ROWS = 512


@objective
def mmd(
    source: Tensor, target: Tensor, *, bandwidth: float | Tensor | None = None, num_kernels: int = 5
) -> Tensor:
    """Squared maximum mean discrepancy, unbiased (so it may be below 0), with several Gaussian kernels.

    The kernel is the mean of exp(-d^2 / (bandwidth 2^k)), k = -(K-1)/2 ... (K-1)/2 in steps of one.

    Args:
        source: (N, D), two rows at least; not normalized.
        target: (M, D), two rows at least.
        bandwidth: of the middle kernel, a squared distance. When None, the median squared distance of
            different rows (up to 512 of each domain, evenly spaced), without gradient.
        num_kernels: K.

    Returns:
        Scalar.

    Reference:
        Gretton et al. 2012, JMLR 13, lemma 6; several kernels: Long et al. 2015, arXiv 1502.02791.
    """
    check_matrix(source=source, target=target)
    check_finite(source=source, target=target)
    if bandwidth is not None:
        check_positive("bandwidth", bandwidth)
    if num_kernels < 1:
        raise ValueError(f"num_kernels must be at least 1, got {num_kernels}")
    N, M = source.shape[0], target.shape[0]
    if min(N, M) < 2:
        raise ValueError(f"the unbiased estimate needs at least two rows of each domain, got {N} and {M}")
    dtype = compute_dtype(source, target)
    source, target = source.to(dtype), target.to(dtype)
    # Distances do not depend on the origin; at the common mean the Gram matrix loses the fewest digits.
    centre = torch.cat([source, target]).mean(0).detach()
    source, target = source - centre, target - centre
    width = _median(source, target) if bandwidth is None else scalar(bandwidth, source)
    widest = width * 2.0 ** ((num_kernels - 1) / 2)

    def kernel_sum(rows: Tensor, others: Tensor) -> Tensor:
        def per_row(own: Tensor) -> Tensor:
            return _kernels(squared_distances(own, others) / widest, num_kernels).sum(1, dtype=sum_dtype(own))

        return map_strips(per_row, others.shape[0], rows).sum()

    # A row's kernel with itself is 1: subtracting N leaves the pairs of different rows.
    within_source = (kernel_sum(source, source) - N) / (N * (N - 1))
    within_target = (kernel_sum(target, target) - M) / (M * (M - 1))
    between = kernel_sum(source, target) / (N * M)
    return (within_source + within_target - 2 * between).to(dtype)


@objective
def coral(source: Tensor, target: Tensor) -> Tensor:
    """Squared difference of the covariances: |C_s - C_t|_F^2 / (4 D^2).

    Args:
        source: (N, D), two rows at least; not normalized.
        target: (M, D), two rows at least.

    Returns:
        Scalar.

    Reference:
        Sun and Saenko 2016, arXiv 1607.01719, eq. 1.
    """
    check_matrix(source=source, target=target)
    check_finite(source=source, target=target)
    if min(source.shape[0], target.shape[0]) < 2:
        raise ValueError(
            f"a covariance needs at least two rows, got {source.shape[0]} source and {target.shape[0]} target"
        )
    difference = _covariance(source) - _covariance(target)
    return (difference * difference).sum() / (4 * source.shape[1] ** 2)


@objective
def mean_difference(source: Tensor, target: Tensor) -> Tensor:
    """|mean of source - mean of target|_1.

    Args:
        source: (N, D); not normalized.
        target: (M, D).

    Returns:
        Scalar, summed over the D features.
    """
    check_matrix(source=source, target=target)
    check_finite(source=source, target=target)
    dtype = compute_dtype(source, target)
    return (source.to(dtype).mean(0) - target.to(dtype).mean(0)).abs().sum()


def gradient_reversal(features: Tensor, strength: float) -> Tensor:
    """Identity whose gradient is multiplied by -strength.

    Args:
        features: any shape.
        strength: lambda of the paper, see `reversal_strength`.

    Reference:
        Ganin et al. 2016, arXiv 1505.07818, eq. 16 and 17.
    """
    reversed_: Tensor = _Reversal.apply(features, strength)  # type: ignore[no-untyped-call]
    return reversed_


def reversal_strength(progress: float, *, sharpness: float = 10.0) -> float:
    """2 / (1 + exp(-sharpness p)) - 1: rises from 0 to nearly 1 during training.

    Args:
        progress: p, the share of training done, in [0, 1].
        sharpness: gamma of the paper.

    Reference:
        Ganin et al. 2016, arXiv 1505.07818, section 5.2.2.
    """
    if not 0 <= progress <= 1:
        raise ValueError(f"progress must be the share of training done, in [0, 1], got {progress}")
    return 2 / (1 + math.exp(-sharpness * progress)) - 1


@objective
def cross_view_consistency(first: Tensor, second: Tensor) -> Tensor:
    """Symmetric Kullback-Leibler divergence of the predictions for two views or styles of a sample.

    Args:
        first: (B, C) logits of one view.
        second: (B, C) logits of the other; both get gradients.

    Returns:
        Scalar, nats: (KL(p || q) + KL(q || p)) / 2, mean over the rows.
    """
    check_pairs(first=first, second=second)
    check_finite(first=first, second=second)
    dtype = compute_dtype(first, second)
    log_p, log_q = F.log_softmax(first.to(dtype), 1), F.log_softmax(second.to(dtype), 1)
    return row_mean(((log_p.exp() - log_q.exp()) * (log_p - log_q)).sum(1) / 2, dtype)


def _kernels(scaled: Tensor, num_kernels: int) -> Tensor:
    """Mean of exp(-x 2^k), k = 0 ... K-1: one exponential, then squares."""
    value = torch.exp(-scaled)
    total = value
    for _ in range(num_kernels - 1):
        value = value * value
        total = total + value
    return total / num_kernels


@torch.no_grad()
def _median(source: Tensor, target: Tensor) -> Tensor:
    both = torch.cat([rows[:: -(-rows.shape[0] // MEDIAN_ROWS)] for rows in (source, target)])
    above = torch.triu_indices(both.shape[0], both.shape[0], 1, device=both.device)
    median = squared_distances(both, both)[above[0], above[1]].median()
    # If all rows are equal any width gives the same kernels, but 0 would divide 0 by 0.
    return torch.where(median > 0, median, 1.0)


def _covariance(features: Tensor) -> Tensor:
    features = features.to(compute_dtype(features))
    centred = features - features.mean(0)
    return centred.t() @ centred / (features.shape[0] - 1)


class _Reversal(torch.autograd.Function):
    """Identity forward, -strength backward."""

    @staticmethod
    def forward(ctx: Any, features: Tensor, strength: float) -> Tensor:
        ctx.strength = strength
        return features.view_as(features)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        return -ctx.strength * gradients[0], None
