"""Contrast by yes or no, pair by pair, instead of a choice among all.

Legend: b own rows, B rows of all replicas, K noise samples, D feature width.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from ._numerics import (
    check_finite,
    check_groups,
    check_matrix,
    check_pairs,
    inverse,
    objective,
    own_places,
    row_mean,
    scalar,
    unit_rows,
)
from ._strips import strip_values

__all__ = ["nce", "nce_log_normalizer", "sigmoid_loss"]


@objective
def sigmoid_loss(
    images: Tensor,
    texts: Tensor,
    *,
    temperature: float | Tensor,
    bias: float | Tensor,
    all_texts: Tensor | None = None,
    rows: Tensor | None = None,
    groups: Tensor | None = None,
    all_groups: Tensor | None = None,
    normalize: bool = True,
) -> Tensor:
    """Every image with every text is a question of its own: a pair or not?

    Across replicas the own images against the texts of all are every pair once, so no gathered images are
    taken.

    Args:
        images: (b, D) this replica's rows.
        texts: (b, D), row i matches image i.
        temperature: above 0, 1/t of the paper; a tensor gets its gradient.
        bias: added to every logit (the paper starts at -10); a tensor gets its gradient.
        all_texts: (B, D) the texts of all replicas; the own ones when None.
        rows: (b,) int64 where the own rows stand among all; required with gathered rows.
        groups: (b,) int64; a text of the image's group that is not its own is neither pair nor non-pair.
        all_groups: (B,) of all replicas.
        normalize: bring features to unit length.

    Returns:
        Scalar, nats, sum over texts, mean over the own images.

    Reference:
        Zhai et al. 2023, arXiv 2303.15343, algorithm 1.
    """
    check_pairs(images=images, texts=texts)
    check_finite(images=images, texts=texts, bias=bias)
    others = texts if all_texts is None else all_texts
    rows = own_places(rows, texts, others, gathered=others is not texts)
    all_groups = groups if all_groups is None else all_groups
    check_groups(len(images), len(others), groups=groups, all_groups=all_groups)
    scale = inverse(temperature, images)
    queries, keys = unit_rows(images, normalize), unit_rows(others, normalize)
    shift = scalar(bias, images).reshape(1)

    def per_image(own: Tensor, place: Tensor, group: Tensor) -> Tensor:
        logits = torch.addmm(shift, own * scale, keys.t())  # (r, B)
        positive = logits.gather(1, place[:, None]).squeeze(1)
        if all_groups is not None:
            skipped = (group[:, None] == all_groups).scatter(1, place[:, None], False)
            logits = logits.masked_fill(skipped, -math.inf)
        # -log sigmoid(-x) = softplus(x) for non-pairs; for the pair softplus(-x) = softplus(x) - x.
        return F.softplus(logits).sum(1) - positive

    group = rows if groups is None else groups
    return row_mean(strip_values(per_image, others.shape[0], queries, rows, group), scale.dtype)


@objective
def nce(
    queries: Tensor,
    positives: Tensor,
    noise: Tensor,
    *,
    temperature: float | Tensor,
    num_items: int,
    log_normalizer: float | Tensor,
    normalize: bool = True,
) -> Tensor:
    """Tell a query's own item from noise items drawn evenly from all, with a fixed normaliser.

    Args:
        queries: (B, D).
        positives: (B, D) the item of each query, from the memory bank.
        noise: (K, D) items drawn evenly, shared by the batch, or (B, K, D) of each query's own.
        temperature: above 0.
        num_items: N, how many items the noise is drawn from.
        log_normalizer: log Z, of `nce_log_normalizer` on the first batch and kept since.
        normalize: bring features to unit length.

    Returns:
        Scalar, nats, sum over positive and noise, mean over the queries.

    Reference:
        Wu et al. 2018, arXiv 1805.01978, eq. 4 to 8.
    """
    check_pairs(queries=queries, positives=positives)
    _check_noise(queries, noise)
    check_finite(queries=queries, positives=positives, noise=noise)
    scale = inverse(temperature, queries)
    # log odds of data against K noise draws: log P(i|v) - log(K / N), with log P = s / tau - log Z.
    offset = math.log(num_items / noise.shape[-2]) - log_normalizer
    unit_queries = unit_rows(queries, normalize) * scale
    positive = (unit_queries * unit_rows(positives, normalize)).sum(1) + offset  # (B,)
    others = _noise_logits(unit_queries, unit_rows(noise, normalize)) + offset  # (B, K)
    return row_mean(F.softplus(-positive) + F.softplus(others).sum(1), scale.dtype)


@torch.no_grad()
@objective
def nce_log_normalizer(
    queries: Tensor, noise: Tensor, *, temperature: float | Tensor, num_items: int, normalize: bool = True
) -> Tensor:
    """Log Z of `nce`, estimated: log N + log mean exp(s / tau) over the noise; 0-d. Arguments as there."""
    check_matrix(queries=queries)
    _check_noise(queries, noise)
    check_finite(queries=queries, noise=noise)
    logits = _noise_logits(
        unit_rows(queries, normalize) * inverse(temperature, queries), unit_rows(noise, normalize)
    )
    return logits.logsumexp((0, 1)) - math.log(logits.numel()) + math.log(num_items)


def _check_noise(queries: Tensor, noise: Tensor) -> None:
    B, D = queries.shape
    if noise.shape[-1] != D or noise.dim() not in (2, 3) or (noise.dim() == 3 and len(noise) != B):
        raise ValueError(f"noise must be (K, {D}) or ({B}, K, {D}), got {tuple(noise.shape)}")


def _noise_logits(queries: Tensor, noise: Tensor) -> Tensor:
    return queries @ noise.t() if noise.dim() == 2 else torch.einsum("bd,bkd->bk", queries, noise)
