"""Nearest neighbours, and classification by their weighted vote.

N queries, M rows of the bank, D embedding width, K neighbours, C classes.
"""

from __future__ import annotations

from typing import NamedTuple

import torch

from likewise.metrics.inputs import Array, as_labels, as_unit_pair, rows_per_tile

__all__ = ["Neighbours", "nearest", "knn_predict"]


class Neighbours(NamedTuple):
    """The nearest rows of a bank for each query, nearest first."""

    similarities: torch.Tensor
    """(N, K) cosines."""
    indices: torch.Tensor
    """(N, K) int64 rows of the bank."""


def nearest(queries: Array, bank: Array, k: int, *, leave_one_out: bool = False) -> Neighbours:
    """The `k` rows of the bank with the greatest cosine to each query; exact, a tile of queries at a time.

    Args:
        queries: (N, D); scaled to unit length here.
        bank: (M, D); scaled to unit length here.
        k: how many; fewer are returned when the bank holds fewer.
        leave_one_out: queries and bank are the same rows, and a row is no neighbour of itself.

    Returns:
        Similarities and indices, (N, min(k, M)) each (M - 1 under `leave_one_out`). The order of
        exactly equal neighbours is not defined.

    Raises:
        ValueError: shapes that don't fit, values that are not finite, k below 1, nothing to be a neighbour.
    """
    query_rows, bank_rows = as_unit_pair(queries, bank, ("queries", "bank"))
    return _nearest(query_rows, bank_rows, k, leave_one_out)


def _nearest(queries: torch.Tensor, bank: torch.Tensor, k: int, leave_one_out: bool) -> Neighbours:
    """`nearest` for checked unit rows."""
    if leave_one_out and len(queries) != len(bank):
        raise ValueError(f"leave_one_out: {len(queries)} queries are not the bank's {len(bank)} rows")
    available = len(bank) - int(leave_one_out)
    if k < 1 or available < 1:
        raise ValueError(f"no neighbours: k is {k}, the bank offers {available}")
    k = min(k, available)
    step = rows_per_tile(len(bank))
    tiles = []
    for start in range(0, len(queries), step):
        similarity = queries[start : start + step] @ bank.T  # (n, M)
        if leave_one_out:
            own = torch.arange(len(similarity), device=similarity.device)
            similarity[own, own + start] = -torch.inf
        tiles.append(similarity.topk(k, dim=1))
    return Neighbours(torch.cat([tile.values for tile in tiles]), torch.cat([tile.indices for tile in tiles]))


def knn_predict(
    train_embeddings: Array,
    train_labels: Array,
    embeddings: Array,
    *,
    k: int = 20,
    temperature: float = 0.07,
    num_classes: int | None = None,
    leave_one_out: bool = False,
) -> torch.Tensor:
    """Class of each row by the vote of its `k` nearest training rows, with weights exp(cosine / temperature).

    Args:
        train_embeddings: (M, D).
        train_labels: (M,) in [0, C); rows with a negative label (unknown) don't vote.
        embeddings: (N, D).
        k: voters; Wu et al. use 200 on ImageNet, 20 is steadier on small sets.
        temperature: above 0.
        num_classes: C; one more than the greatest label of the training part when None.
        leave_one_out: the two parts are the same rows, and a row does not vote on itself.

    Returns:
        (N,) int64, on the device of `embeddings`. The lowest number among exactly equal votes.

    Raises:
        ValueError: as `nearest`; no labelled row; a label not below `num_classes`; temperature not above 0.

    Reference:
        Wu et al. 2018, 1805.01978, section 3.4. The weights are divided by the nearest one's, which
        changes no vote and cannot overflow.
    """
    rows, bank = as_unit_pair(embeddings, train_embeddings, ("embeddings", "train_embeddings"))
    if not temperature > 0:
        raise ValueError(f"temperature must be above 0, got {temperature}")
    # On the CPU: each of the checks below would wait for a device.
    labels = as_labels(train_labels, "train_labels", count=len(bank), device=torch.device("cpu"))
    labelled = labels >= 0
    if not bool(labelled.any()):
        raise ValueError("train_labels: no row has a label")
    classes = int(labels.max()) + 1 if num_classes is None else num_classes
    if int(labels.max()) >= classes:
        raise ValueError(f"train_labels: {int(labels.max())} is not below num_classes = {classes}")
    if leave_one_out and not bool(labelled.all()):
        raise ValueError("leave_one_out: every row needs a label; select the labelled rows first")
    found = _nearest(rows, bank[labelled], k, leave_one_out)
    weights = ((found.similarities - found.similarities[:, :1]) / temperature).exp()  # (N, K)
    voters = labels[labelled].to(found.indices.device)[found.indices]  # (N, K), on the queries' device
    step = rows_per_tile(classes)
    answers = []
    for start in range(0, len(weights), step):
        tile = weights[start : start + step]
        votes = tile.new_zeros(len(tile), classes).scatter_add_(1, voters[start : start + step], tile)
        answers.append(votes.argmax(dim=1))
    return torch.cat(answers)
