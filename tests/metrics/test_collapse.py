import math

import numpy as np
import pytest
import torch

from likewise.metrics import (
    alignment,
    collapse_warning,
    deviation,
    effective_rank,
    signs_of_collapse,
    uniformity,
)


def test_effective_rank_worked_by_hand():
    assert effective_rank(torch.eye(5)) == pytest.approx(5.0)
    # singular values 3 and 1: shares 3/4 and 1/4
    entropy = -(0.75 * math.log(0.75) + 0.25 * math.log(0.25))
    assert effective_rank(torch.tensor([[3.0, 0.0], [0.0, 1.0], [0.0, 0.0]])) == pytest.approx(
        math.exp(entropy)
    )
    assert effective_rank(torch.ones(10, 4)) == pytest.approx(1.0)
    assert effective_rank(torch.zeros(10, 4)) == 0.0


@pytest.mark.parametrize("shape", [(40, 7), (7, 40)])
def test_effective_rank_matches_the_definition(shape):
    matrix = torch.randn(shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    values = torch.linalg.svdvals(matrix)
    share = values / values.sum()
    expected = float((-(share * share.log()).sum()).exp())
    assert effective_rank(matrix) == pytest.approx(expected, rel=1e-9)
    rotation, _ = torch.linalg.qr(torch.randn(shape[1], shape[1], dtype=torch.float64))
    assert effective_rank(3 * matrix @ rotation) == pytest.approx(expected, rel=1e-9)


def test_deviation_worked_by_hand():
    # dimension 0 is +1, -1: deviation 1; dimension 1 is 0, 0: deviation 0
    assert deviation(torch.tensor([[2.0, 0.0], [-3.0, 0.0]])) == pytest.approx(0.5)
    rows = torch.randn(4000, 16, generator=torch.Generator().manual_seed(0))
    assert deviation(rows) * 4 == pytest.approx(1.0, abs=0.02)


def test_alignment_and_uniformity_worked_by_hand():
    rows = torch.tensor([[1.0, 0.0], [0.0, 5.0]])
    assert alignment(rows, rows) == 0.0
    assert alignment(rows, rows.flip(0)) == pytest.approx(2.0)
    assert alignment(rows, -rows) == pytest.approx(4.0)
    assert uniformity(rows) == pytest.approx(-4.0)  # one pair, |x - y|^2 = 2
    assert uniformity(torch.tensor([[1.0], [-1.0]])) == pytest.approx(-8.0)
    assert uniformity(torch.ones(9, 3)) == pytest.approx(0.0, abs=1e-6)


def test_uniformity_matches_a_naive_loop():
    rows = torch.randn(23, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    unit = rows / rows.norm(dim=1, keepdim=True)
    terms = [
        math.exp(-2 * float((unit[i] - unit[j]).square().sum()))
        for i in range(23)
        for j in range(23)
        if i != j
    ]
    assert uniformity(rows) == pytest.approx(math.log(sum(terms) / len(terms)), rel=1e-9)
    assert uniformity(rows, max_rows=23) == uniformity(rows)
    assert uniformity(rows, max_rows=10) != uniformity(rows)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_many_rows_match_their_definitions(dtype):
    """More pairs than are held at once."""
    generator = torch.Generator().manual_seed(0)
    rows, positives = (torch.randn(1100, 6, generator=generator, dtype=dtype) + 1 for _ in range(2))
    unit, others = (torch.nn.functional.normalize(x.double(), dim=1) for x in (rows, positives))
    potential = torch.nn.functional.pdist(unit).square().mul(-2).exp().mean()
    apart = (unit - others).square().sum(dim=1).mean()
    assert uniformity(rows) == pytest.approx(float(potential.log()), abs=1e-6)
    assert alignment(rows, positives) == pytest.approx(float(apart), abs=1e-6)
    assert alignment(rows, positives.double()) == pytest.approx(float(apart), abs=1e-6)


def test_a_healthy_model_raises_no_warning():
    rows = torch.randn(500, 32, generator=torch.Generator().manual_seed(0))
    signs = signs_of_collapse(rows, rows)
    assert collapse_warning(signs) is None
    assert signs["relative_deviation"] == pytest.approx(1.0, abs=0.05)
    assert signs["effective_rank"] > 28
    assert signs["dimension"] == 32
    assert signs["alignment"] < 1e-12
    assert "alignment" not in signs_of_collapse(rows)


def test_complete_collapse_is_seen():
    for rows in (torch.ones(50, 16), torch.zeros(50, 16), torch.ones(50, 16) + 1e-3 * torch.randn(50, 16)):
        signs = signs_of_collapse(rows)
        assert signs["relative_deviation"] < 0.01
        assert "nearly all the same" in str(collapse_warning(signs))
    assert signs_of_collapse(torch.ones(50, 16))["effective_rank"] == 0.0


def test_dimensional_collapse_is_seen():
    generator = torch.Generator().manual_seed(0)
    rows = torch.randn(500, 2, generator=generator) @ torch.randn(2, 256, generator=generator)
    signs = signs_of_collapse(rows)
    assert signs["effective_rank"] == pytest.approx(2.0, abs=0.1)
    assert "directions of the 256" in str(collapse_warning(signs))


def test_a_method_that_learns_classes_needs_one_direction_less_than_there_are_classes():
    classes = torch.randn(2, 512, generator=torch.Generator().manual_seed(0))
    signs = signs_of_collapse(classes.repeat(50, 1)) | {"num_classes": 2.0}
    assert signs["effective_rank"] == pytest.approx(1.0)
    assert "dimensions are collapsing" in str(collapse_warning(signs))
    assert collapse_warning(signs, learnt_classes=True) is None
    many = signs | {"num_classes": 500.0}
    assert "directions of the 99" in str(collapse_warning(many, learnt_classes=True))


def test_rows_of_zeros_are_no_even_spread():
    assert signs_of_collapse(torch.zeros(50, 16))["uniformity"] == pytest.approx(0, abs=1e-6)


def test_bad_arrays_are_refused():
    with pytest.raises(ValueError, match="length of row 1 overflows"):
        signs_of_collapse(torch.tensor([[1.0, 2.0], [3e38, 3e38]]))
    with pytest.raises(ValueError, match="two items"):
        signs_of_collapse(torch.ones(1, 3))
    with pytest.raises(ValueError, match="two items"):
        uniformity(torch.ones(1, 3))
    with pytest.raises(ValueError, match="NaN"):
        signs_of_collapse(torch.full((3, 3), float("nan")))
    with pytest.raises(ValueError, match="equal shapes"):
        alignment(torch.ones(2, 3), torch.ones(3, 3))


def test_uniformity_of_some_rows_meets_classes_that_take_turns() -> None:
    rows = np.tile(np.eye(2), (500, 1))  # every second row is the same
    everything = uniformity(rows)
    assert uniformity(rows, max_rows=500) == pytest.approx(everything, abs=0.05)
    assert everything < -0.6
