"""Draws: a function of their five keys, evenly spread, independent of one another."""

from __future__ import annotations

import torch

from likewise.step_random import StepRandom


def test_a_row_draws_the_same_wherever_it_stands() -> None:
    index = torch.randperm(100)
    whole = StepRandom(3, 7).uniform(index, 5, purpose="crop")
    piece = StepRandom(3, 7).uniform(index[20:30], 5, purpose="crop")
    assert torch.equal(whole[20:30], piece)
    assert torch.equal(StepRandom(3, 7).uniform(index, 3, purpose="crop"), whole[:, :3])


def test_every_key_counts() -> None:
    index = torch.arange(50)
    base = StepRandom(3, 7).uniform(index, 4, purpose="crop")
    others = [
        StepRandom(4, 7).uniform(index, 4, purpose="crop"),
        StepRandom(3, 8).uniform(index, 4, purpose="crop"),
        StepRandom(3, 7).uniform(index, 4, purpose="flip"),
        StepRandom(3, 7).uniform(index + 1000, 4, purpose="crop"),
        StepRandom(-3, 7).uniform(index, 4, purpose="crop"),
    ]
    for other in others:
        assert not torch.isclose(base, other).any()


def test_spread_evenly_and_uncorrelated() -> None:
    drawn = StepRandom(0, 0).uniform(torch.arange(100_000), 2, purpose="x").double()
    assert drawn.min() >= 0
    assert drawn.max() < 1
    assert abs(float(drawn.mean()) - 0.5) < 3e-3
    assert abs(float(drawn.var()) - 1 / 12) < 1e-3
    assert abs(float(torch.corrcoef(drawn.T)[0, 1])) < 0.01
    assert abs(float(torch.corrcoef(torch.stack([drawn[:-1, 0], drawn[1:, 0]]))[0, 1])) < 0.01
    steps = torch.stack(
        [StepRandom(0, step).uniform(torch.zeros(1), 1, purpose="x")[0, 0] for step in range(4000)]
    )
    assert abs(float(torch.corrcoef(torch.stack([steps[:-1], steps[1:]]))[0, 1])) < 0.06


def test_known_values_never_change() -> None:
    """A run of last year must resume to the same bits."""
    drawn = StepRandom(0, 0).bits(torch.tensor([0, 1]), 2, purpose="view 0")
    assert drawn.tolist() == [
        [-1245069370665091094, -5659515619918318764],
        [2909450383512196372, -1163774768844242998],
    ]
