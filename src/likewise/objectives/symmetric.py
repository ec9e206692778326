"""Symmetric contrast of two batches, row i with row i: images with texts, views with views.

Legend: b own rows, B rows of all processes, D feature width.

With several processes both take the own rows, the gathered rows (`gather_rows`) and the indices of the own
ones among them (`own_rows`). The result is the mean over the own rows; see `likewise.collectives`.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ._numerics import (
    Precision,
    check_finite,
    check_groups,
    check_pairs,
    inverse,
    objective,
    own_indices,
    row_mean,
)
from ._rules import Rules
from ._tiles import compare
from .contrastive import info_nce

__all__ = ["clip_loss", "nt_xent"]


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
        images: (b, D) rows of this process.
        texts: (b, D), row i matches image i.
        temperature: above 0; a tensor gets its gradient. (CLIP learns log(1 / temperature).)
        all_images: (B, D) rows of all processes; the own rows when None.
        all_texts: (B, D).
        rows: (b,) int64 indices of the own rows among all; required with gathered rows.
        groups: (b,) int64 group ids; members of a group (captions of one photo) are never negatives.
        all_groups: (B,) of all processes.
        normalize: bring features to unit length.
        precision: "bfloat16" computes the matrix products in bf16, sums stay float32.
        tile: (rows, columns) of a tile; always streams. Chosen by shape when None.

    Returns:
        Scalar, nats, mean over the own pairs and the two directions.

    Reference:
        Radford et al. 2021, arXiv 2103.00020, figure 3.
    """
    check_pairs(images=images, texts=texts)
    all_images = images if all_images is None else all_images
    all_texts = texts if all_texts is None else all_texts
    all_groups = groups if all_groups is None else all_groups
    if all_images is images and all_texts is texts:
        check_finite(images=images, texts=texts)
        check_groups(len(images), len(texts), groups=groups, all_groups=all_groups)
        rules = Rules(
            positives=own_indices(None, images, images),
            group_queries=groups,
            group_keys=all_groups,
            columns=True,
            normalize=normalize,
            precision=precision,
            tile=tile,
        )
        scale = inverse(temperature, images)
        by_rows, by_columns, _ = compare(images, texts, scale, rules)
        assert by_columns is not None
        return row_mean((by_rows + by_columns) / 2, scale.dtype)
    rows = own_indices(rows, images, all_images, gathered=True)
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
    """Each of 2B views against the other 2B - 1.

    In one process only similarities on and above the diagonal are computed: two matrix products in all.

    Args:
        first: (b, D) one view of this process's samples.
        second: (b, D) the other.
        temperature: above 0; a tensor gets its gradient.
        all_first: (B, D) rows of all processes; the own rows when None.
        all_second: (B, D).
        rows: (b,) int64 indices of the own rows among all; required with gathered rows.
        groups: (b,) int64 group ids; members of a group (copies of one image) are never negatives.
        all_groups: (B,) of all processes.
        normalize: bring features to unit length.
        precision: "bfloat16" computes the matrix products in bf16, sums stay float32.
        tile: (rows, columns) of a tile; always streams. Chosen by shape when None.

    Returns:
        Scalar, nats, mean over the 2b own views.

    Reference:
        Chen et al. 2020, arXiv 2002.05709, eq. 1. Deviation: groups.
    """
    check_pairs(first=first, second=second)
    check_finite(first=first, second=second)
    all_first = first if all_first is None else all_first
    all_second = second if all_second is None else all_second
    alone = all_first is first and all_second is second
    rows = own_indices(rows, first, all_first, gathered=not alone)
    total = all_first.shape[0]
    all_groups = groups if all_groups is None else all_groups
    check_groups(len(first), total, groups=groups, all_groups=all_groups)
    rules = Rules(
        positives=torch.cat([rows + total, rows]),
        excluded=torch.cat([rows, rows + total]),
        group_queries=None if groups is None else groups.repeat(2),
        group_keys=None if all_groups is None else all_groups.repeat(2),
        symmetric=alone,
        normalize=normalize,
        precision=precision,
        tile=tile,
    )
    queries = torch.cat([first, second])  # (2b, D)
    keys = queries if alone else torch.cat([all_first, all_second])  # (2B, D)
    scale = inverse(temperature, first)
    return row_mean(compare(queries, keys, scale, rules).hard, scale.dtype)
