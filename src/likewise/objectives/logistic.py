"""Binary contrast: a logistic loss for each pair, instead of a softmax over all keys.

Legend: b own rows, B rows of all processes, K noise samples, D feature width.
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
    own_indices,
    row_mean,
    scalar,
    unit_rows,
)
from ._strips import map_strips

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
    """Binary classification of every image-text pair: match or not.

    With several processes the own images against all texts cover every pair once, so images are not gathered.

    Args:
        images: (b, D) rows of this process.
        texts: (b, D), row i matches image i.
        temperature: above 0, 1/t of the paper; a tensor gets its gradient.
        bias: added to every logit (the paper starts at -10); a tensor gets its gradient.
        all_texts: (B, D) texts of all processes; the own texts when None.
        rows: (b,) int64 indices of the own rows among all; required with gathered rows.
        groups: (b,) int64 group ids; other texts of the image's group are left out.
        all_groups: (B,) of all processes.
        normalize: bring features to unit length.

    Returns:
        Scalar, nats, sum over texts, mean over the own images.

    Reference:
        Zhai et al. 2023, arXiv 2303.15343, algorithm 1.
    """
    check_pairs(images=images, texts=texts)
    check_finite(images=images, texts=texts, bias=bias)
    others = texts if all_texts is None else all_texts
    rows = own_indices(rows, texts, others)
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
        # -log sigmoid(-x) = softplus(x) for negatives; for the positive softplus(-x) = softplus(x) - x.
        return F.softplus(logits).sum(1) - positive

    group = rows if groups is None else groups
    return row_mean(map_strips(per_image, others.shape[0], queries, rows, group), scale.dtype)


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
    """Noise-contrastive estimation: a query's item against uniformly drawn items, with a fixed normalizer.

    Args:
        queries: (B, D).
        positives: (B, D) the item of each query, from the memory bank.
        noise: (K, D) items shared by the batch, or (B, K, D).
        temperature: above 0.
        num_items: N, the number of items that the noise is drawn from.
        log_normalizer: log Z, from `nce_log_normalizer` on the first batch.
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
    """0-d estimate of `nce`'s log Z: log N + log mean exp(s / tau) over the noise. Arguments as there."""
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
