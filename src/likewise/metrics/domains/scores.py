"""Scores of predictions that need no labels.

M rows, C classes. Probabilities are rows that sum to one.
"""

from __future__ import annotations

import torch

from likewise.metrics.inputs import Array, as_matrix, as_unit_rows, rows_per_tile

__all__ = ["information", "mean_entropy", "neighbourhood_density"]


def mean_entropy(probabilities: Array) -> float:
    """Mean entropy of the predictions, in nats: low where the model is sure.

    Args:
        probabilities: (M, C).
    """
    return float(_entropies(_checked(probabilities)).mean())


def information(probabilities: Array) -> float:
    """Mutual information of predictions and rows, H(mean p) - mean H(p), in nats: high where the model is
    sure and uses all classes.

    Args:
        probabilities: (M, C).

    Reference:
        Krause et al. 2010 (NIPS); Shi and Sha 2012, arXiv 1206.6438.
    """
    rows = _checked(probabilities)
    return float(_entropies(rows.mean(dim=0, keepdim=True))[0] - _entropies(rows).mean())


def neighbourhood_density(probabilities: Array, *, temperature: float = 0.05) -> float:
    """Soft neighbourhood density: mean entropy, in nats, of each row's similarities to all others.

    High where rows lie in dense clusters. Similarities are cosines of the predictions over `temperature`,
    through a softmax, the row itself left out.

    Args:
        probabilities: (M, C), two rows at least.
        temperature: divides the cosines.

    Reference:
        Saito et al. 2021, arXiv 2108.10860, eq. 1 to 4.
    """
    rows = as_unit_rows(_checked(probabilities), "probabilities")
    count = len(rows)
    if count < 2:
        raise ValueError("neighbourhood density needs two rows or more")
    total = 0.0
    for start in range(0, count, rows_per_tile(count)):
        own = rows[start : start + rows_per_tile(count)]
        logits = own @ rows.T / temperature
        logits[torch.arange(len(own)), torch.arange(start, start + len(own))] = -torch.inf
        total += float(_entropies(logits.softmax(dim=1)).sum())
    return total / count


def _checked(probabilities: Array) -> torch.Tensor:
    rows = as_matrix(probabilities, "probabilities").double()
    if float(rows.min()) < 0 or not torch.allclose(rows.sum(dim=1), rows.new_ones(len(rows)), atol=1e-4):
        raise ValueError("probabilities: expected rows that sum to one, with no entry below 0")
    return rows


def _entropies(rows: torch.Tensor) -> torch.Tensor:
    """(M,) of (M, C), in nats."""
    entropies: torch.Tensor = -torch.special.xlogy(rows, rows).sum(dim=1)
    return entropies
