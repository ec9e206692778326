"""L*a*b* by hand and by known colours."""

from __future__ import annotations

import pytest
import torch

from likewise.encoders.color_spaces import color_channels


def lab_of(colour: tuple[float, float, float]) -> list[float]:
    channels = color_channels(torch.tensor(colour).view(1, 3, 1, 1))[0, :3, 0, 0]
    middle = torch.tensor([50.0, 6.025, -6.6895])
    half_range = torch.tensor([50.0, 92.208, 101.1675])
    return (channels * half_range + middle).tolist()


@pytest.mark.parametrize(
    ("colour", "lab"),
    [
        ((1.0, 1.0, 1.0), (100.0, 0.0, 0.0)),
        ((0.0, 0.0, 0.0), (0.0, 0.0, 0.0)),
        ((1.0, 0.0, 0.0), (53.24, 80.09, 67.20)),
        ((0.0, 1.0, 0.0), (87.74, -86.18, 83.18)),
        ((0.0, 0.0, 1.0), (32.30, 79.19, -107.86)),
        ((0.5, 0.5, 0.5), (53.39, 0.0, 0.0)),
    ],
)
def test_known_colours(colour: tuple[float, float, float], lab: tuple[float, float, float]) -> None:
    assert lab_of(colour) == pytest.approx(lab, abs=0.05)


def test_all_colours_fit_and_have_a_gradient() -> None:
    grid = torch.cartesian_prod(*[torch.linspace(0, 1, 9)] * 3).T.reshape(1, 3, 27, 27).requires_grad_()
    channels = color_channels(grid)
    assert channels.shape == (1, 6, 27, 27)
    assert channels.abs().max() < 1.01
    channels.sum().backward()
    assert grid.grad is not None
    assert grid.grad.isfinite().all()
