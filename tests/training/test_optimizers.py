import math

import pytest
import torch
from torch import nn

from likewise.runs.training_options import TrainingConfig
from likewise.training.optimizers import LARS, learning_rate, parameter_groups


def test_lars_by_hand() -> None:
    """You 2017, algorithm 1: the rate of each step goes into the momentum, and stays there when it falls."""
    weight = nn.Parameter(torch.tensor([[3.0, 4.0]]))
    optimizer = LARS([weight], lr=1.0, momentum=0.5, weight_decay=0.1, trust=0.01)
    weight.grad = torch.tensor([[0.7, 0.6]])  # and a tenth of the weight: (1, 1)
    optimizer.step()
    first = 0.01 * 5 / math.sqrt(2)
    torch.testing.assert_close(weight.detach(), torch.tensor([[3 - first, 4 - first]]))
    optimizer.param_groups[0]["lr"] = 0.0
    optimizer.step()
    torch.testing.assert_close(weight.detach(), torch.tensor([[3 - 1.5 * first, 4 - 1.5 * first]]))


def test_lars_takes_plain_steps_where_it_does_not_adapt() -> None:
    network = nn.Linear(2, 1)
    optimizer = LARS(parameter_groups(network, weight_decay=0.0), lr=0.1, momentum=0.9)
    before = network.bias.detach().clone()
    for parameter in network.parameters():
        parameter.grad = torch.ones_like(parameter)
    optimizer.step()
    torch.testing.assert_close(network.bias.detach(), before - 0.1)


def test_a_weight_of_zeros_gets_a_step() -> None:
    weight = nn.Parameter(torch.zeros(2, 2))
    weight.grad = torch.ones(2, 2)
    LARS([weight], lr=0.1).step()
    torch.testing.assert_close(weight.detach(), torch.full((2, 2), -0.1))


@pytest.mark.parametrize(
    ("step", "expected"), [(0, 0.25), (3, 1.0), (4, 1.0), (22, 0.55), (40, 0.1), (99, 0.1)]
)
def test_the_rate_warms_up_and_falls_along_a_cosine(step: int, expected: float) -> None:
    config = TrainingConfig(learning_rate=1.0, warmup_share=0.1, final_share=0.1)
    assert learning_rate(step, 40, config) == pytest.approx(expected)
