"""Shared by the tests of the objectives: values with gradients, and how far two sets of them are apart."""

from collections.abc import Callable, Sequence

import pytest
import torch
from torch import Tensor


def values_and_gradients(function: Callable[..., Tensor], *inputs: Tensor) -> list[Tensor]:
    leaves = [value.detach().clone().requires_grad_() for value in inputs]
    loss = function(*leaves)
    assert loss.shape == ()
    return [loss.detach(), *torch.autograd.grad(loss, leaves)]


def distance(ours: Sequence[Tensor], reference: Sequence[Tensor]) -> float:
    return max(
        float((a.double() - b.double()).norm() / b.double().norm().clamp_min(1e-12))
        for a, b in zip(ours, reference, strict=True)
    )


@pytest.fixture
def agree() -> Callable[..., None]:
    """agree(ours, reference, *inputs): value and all gradients, in float64 to 1e-10 and in float32 to
    1e-5."""

    def check(
        ours: Callable[..., Tensor], reference: Callable[..., Tensor], *inputs: Tensor, single=1e-5
    ) -> None:
        inputs = [value.float().double() for value in inputs]
        expected = values_and_gradients(reference, *inputs)
        assert distance(values_and_gradients(ours, *inputs), expected) < 1e-10
        if single is not None:
            assert distance(values_and_gradients(ours, *[v.float() for v in inputs]), expected) < single

    return check


@pytest.fixture(autouse=True)
def _same_every_time():
    torch.manual_seed(0)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)
