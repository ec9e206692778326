"""InfoNCE with hard negatives: against a hand-computed value, a naive loop, its invariances and gradients."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from likewise.objectives import hard_negative_info_nce, info_nce


def naive(
    queries: Tensor, keys: Tensor, negatives: Tensor, tau: float, weight: float, groups: list[int] | None
) -> float:
    """Equation 5 and the weight of appendix B, term by term."""
    total = 0.0
    for i, query in enumerate(queries):
        terms = []
        for j in range(len(keys)):
            positive, hard = (
                math.exp(float(torch.cosine_similarity(query, rows[j], dim=0)) / tau)
                for rows in (keys, negatives)
            )
            if groups is None or i == j or groups[i] != groups[j]:
                terms.append(positive)
            terms.append(hard * (weight if i == j else 1))
        own = math.exp(float(torch.cosine_similarity(query, keys[i], dim=0)) / tau)
        total -= math.log(own / sum(terms))
    return total / len(queries)


def rows(count: int = 5) -> list[Tensor]:
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(count, 4, dtype=torch.float64, generator=generator) for _ in range(3)]


def test_one_row_by_hand() -> None:
    """Cosines 1 and 0, temperature 1: -log(e / (e + 3))."""
    query, key, negative = torch.eye(3)[[0]], torch.eye(3)[[0]], torch.eye(3)[[1]]
    loss = hard_negative_info_nce(query, key, negative, temperature=1.0, weight=3.0)
    assert float(loss) == pytest.approx(-math.log(math.e / (math.e + 3)), abs=1e-6)


@pytest.mark.parametrize("weight", [1.0, 0.25, 4.0])
@pytest.mark.parametrize("groups", [None, [0, 1, 0, 2, 1]])
@pytest.mark.parametrize("tile", [None, (2, 3)])
def test_the_papers_formula(weight: float, groups: list[int] | None, tile: tuple[int, int] | None) -> None:
    queries, keys, negatives = rows()
    of_rows = None if groups is None else torch.tensor(groups)
    loss = hard_negative_info_nce(
        queries,
        keys,
        negatives,
        temperature=0.3,
        weight=weight,
        groups=of_rows,
        all_groups=of_rows,
        tile=tile,
    )
    assert float(loss) == pytest.approx(naive(queries, keys, negatives, 0.3, weight, groups), abs=1e-10)


def test_without_negatives_it_is_info_nce() -> None:
    queries, keys, _ = rows()
    torch.testing.assert_close(
        hard_negative_info_nce(queries, keys, temperature=0.1), info_nce(queries, keys, temperature=0.1)
    )


@pytest.mark.parametrize("weight", [1.0, 0.3, 5.0])
def test_gradients_are_those_of_finite_differences(weight: float) -> None:
    inputs = [one.requires_grad_() for one in rows(3)]
    assert torch.autograd.gradcheck(
        lambda q, k, n: hard_negative_info_nce(q, k, n, temperature=0.5, weight=weight), inputs
    )


def test_rows_of_a_process_are_found_among_all() -> None:
    queries, keys, negatives = rows()
    halves = [
        hard_negative_info_nce(
            queries[part], keys, negatives, rows=torch.arange(5)[part], temperature=0.2, weight=2.0
        )
        * len(queries[part])
        for part in (slice(0, 2), slice(2, 5))
    ]
    whole = hard_negative_info_nce(queries, keys, negatives, temperature=0.2, weight=2.0)
    torch.testing.assert_close(sum(halves) / 5, whole)


def test_extreme_cosines_stay_finite() -> None:
    """A negative that equals the query, a positive opposite to it."""
    query = torch.ones(2, 3, requires_grad=True)
    for weight in (1e-3, 1e3):
        loss = hard_negative_info_nce(
            query, -torch.ones(2, 3), torch.ones(2, 3), temperature=0.01, weight=weight
        )
        loss.backward()
        assert loss.isfinite()
    assert query.grad is not None
    assert query.grad.isfinite().all()


def test_wrong_inputs_are_rejected() -> None:
    queries, keys, negatives = rows()
    with pytest.raises(ValueError, match="weight must be above 0"):
        hard_negative_info_nce(queries, keys, negatives, temperature=0.1, weight=0.0)
    with pytest.raises(ValueError, match="negatives"):
        hard_negative_info_nce(queries, keys, negatives[:3], temperature=0.1)
