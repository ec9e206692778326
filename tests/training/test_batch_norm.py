"""BatchNorm over replicas: with one replica it is PyTorch's own. (Two are held by the methods' contract.)"""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from likewise.mechanisms.batch_norm import ReplicaBatchNorm, synchronize_batch_norm


@pytest.mark.parametrize("affine", [True, False])
@pytest.mark.parametrize("shape", [(6, 5), (4, 5, 3, 2)])
def test_equals_pytorch_s(shape: tuple[int, ...], affine: bool) -> None:
    torch.manual_seed(0)
    kind = nn.BatchNorm1d if len(shape) == 2 else nn.BatchNorm2d
    theirs = kind(5, affine=affine).double()
    if affine:
        nn.init.normal_(theirs.weight)
        nn.init.normal_(theirs.bias)
    ours = ReplicaBatchNorm.of(copy.deepcopy(theirs))
    for _ in range(3):
        values = torch.randn(*shape, dtype=torch.float64) * 3 + 1
        inputs = [values.clone().requires_grad_() for _ in range(2)]
        outputs = [norm(given) for norm, given in zip((theirs, ours), inputs, strict=True)]
        torch.testing.assert_close(outputs[1], outputs[0])
        weights = torch.randn_like(values)
        for output in outputs:
            (output * weights).sum().backward()
        torch.testing.assert_close(inputs[1].grad, inputs[0].grad)
    assert theirs.state_dict().keys() == ours.state_dict().keys()
    for key, value in theirs.state_dict().items():
        torch.testing.assert_close(ours.state_dict()[key], value)
    torch.testing.assert_close(ours.eval()(values), theirs.eval()(values))


def test_takes_the_place_of_every_batch_norm_and_keeps_weights() -> None:
    network = nn.Sequential(nn.Conv2d(3, 4, 1), nn.Sequential(nn.BatchNorm2d(4)), nn.BatchNorm1d(2))
    weight = network[2].weight
    names = list(network.state_dict())
    synchronize_batch_norm(network, torch.device("cpu"))
    assert isinstance(network[1][0], ReplicaBatchNorm)  # type: ignore[index]
    assert network[2].weight is weight
    assert list(network.state_dict()) == names
