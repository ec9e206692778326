"""Twin, queue and bank against NumPy simulations; BatchNorm in parts against networks of their own."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from torch import nn

from likewise.mechanisms import (
    EMAEncoder,
    KeyQueue,
    MemoryBank,
    cosine_momentum,
    has_batch_norm,
    in_parts,
)


def unit(rows: np.ndarray) -> np.ndarray:
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def test_twin_is_the_moving_average_of_weights_and_statistics() -> None:
    torch.manual_seed(0)
    online = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4)).double()
    twin = EMAEncoder(online)
    expected = {key: value.numpy().copy() for key, value in online.state_dict().items()}
    for step in range(5):
        with torch.no_grad():
            for weight in online.parameters():
                weight += torch.randn_like(weight)
            online(torch.randn(8, 3, dtype=torch.float64))  # moves BatchNorm's statistics
        twin.follow(online, 0.9)
        for key, value in online.state_dict().items():
            new = value.numpy()
            expected[key] = new if new.dtype == np.int64 else 0.9 * expected[key] + 0.1 * new
        assert int(twin.module[1].num_batches_tracked) == step + 1  # type: ignore[index]
    for key, value in twin.module.state_dict().items():
        np.testing.assert_allclose(value.numpy(), expected[key], rtol=1e-12)


def test_twin_starts_equal_shares_nothing_and_has_no_gradient() -> None:
    online = nn.Linear(3, 2)
    twin = EMAEncoder(online)
    rows = torch.randn(4, 3, requires_grad=True)
    made = twin(rows)
    assert torch.equal(made, online(rows))
    assert not made.requires_grad
    assert not any(weight.requires_grad for weight in twin.parameters())
    with torch.no_grad():
        online.weight += 1
    assert not torch.equal(twin(rows), online(rows))
    twin.follow(online, 0.0)
    assert torch.equal(twin(rows), online(rows))


def test_cosine_momentum_by_hand() -> None:
    assert cosine_momentum(0.996, 0.0) == pytest.approx(0.996)
    assert cosine_momentum(0.996, 0.5) == pytest.approx(0.998)
    assert cosine_momentum(0.996, 1.0) == 1.0


@pytest.mark.parametrize("batches", [[4, 4, 4], [3, 5, 2, 7], [20], [7, 25, 1]])
def test_queue_holds_the_newest(batches: list[int]) -> None:
    """Batches that divide the queue of 8, that do not, and that are longer than it."""
    torch.manual_seed(0)
    queue = KeyQueue(8, 3).double()
    keys = queue.keys.numpy().copy()
    groups, place = np.full(8, -1), 0
    for number, size in enumerate(batches):
        new = torch.randn(size, 3, dtype=torch.float64)
        queue.push(new, torch.arange(size) + 100 * number)
        for row in range(max(0, size - 8), size):  # of more than fit, the last
            keys[place], groups[place] = unit(new.numpy())[row], 100 * number + row
            place = (place + 1) % 8
    np.testing.assert_allclose(queue.keys.numpy(), keys, rtol=1e-12)
    assert queue.groups.tolist() == groups.tolist()
    assert int(queue.place) == place


def test_queue_and_bank_are_part_of_the_state() -> None:
    assert set(KeyQueue(4, 2).state_dict()) == {"keys", "groups", "place"}
    assert set(MemoryBank(4, 2).state_dict()) == {"vectors", "seen", "groups"}


def test_bank_turns_towards_the_new() -> None:
    torch.manual_seed(0)
    bank = MemoryBank(6, 3).double()
    before = bank.vectors.numpy().copy()
    index, new = torch.tensor([4, 1]), torch.randn(2, 3, dtype=torch.float64)
    assert len(set(bank.groups.tolist())) == 6
    assert max(bank.groups.tolist()) < 0  # of no group before they are seen
    bank.update(index, new, torch.tensor([7, 3]), 0.5)
    assert bank.groups[[4, 1]].tolist() == [7, 3]
    expected = before.copy()
    expected[[4, 1]] = unit(new.numpy())  # seen for the first time
    np.testing.assert_allclose(bank.vectors.numpy(), expected, rtol=1e-12)
    index, new = torch.tensor([1, 0]), torch.randn(2, 3, dtype=torch.float64)
    bank.update(index, new, torch.tensor([3, 3]), 0.25)
    expected[1] = unit(0.25 * expected[1] + 0.75 * unit(new.numpy())[:1])[0]
    expected[0] = unit(new.numpy())[1]
    np.testing.assert_allclose(bank.vectors.numpy(), expected, rtol=1e-12)


def test_the_first_vector_of_a_row_counts() -> None:
    torch.manual_seed(0)
    bank, other = MemoryBank(6, 3), MemoryBank(6, 3)
    other.load_state_dict(bank.state_dict())
    new = torch.randn(5, 3)
    groups = torch.tensor([4, 1, 4, 4, 0])
    bank.update(torch.tensor([4, 1, 4, 4, 0]), new, groups, 0.5)
    other.update(torch.tensor([4, 1, 0]), new[[0, 1, 4]], groups[[0, 1, 4]], 0.5)
    assert torch.equal(bank.vectors, other.vectors)
    assert torch.equal(bank.seen, other.seen)
    assert torch.equal(bank.groups, other.groups)


def test_impossible_sizes_are_refused() -> None:
    with pytest.raises(ValueError, match="-1 keys"):
        KeyQueue(-1, 3)
    with pytest.raises(ValueError, match="one row"):
        MemoryBank(0, 3)


def normed_network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 2), nn.BatchNorm1d(2)).double()


def test_parts_are_networks_of_their_own_with_shared_weights() -> None:
    """Outputs, gradients, and statistics that are the mean of the parts'; 11 rows in parts of at least 3."""
    network = normed_network()
    rows, weights = torch.randn(11, 3, dtype=torch.float64), torch.randn(11, 2, dtype=torch.float64)
    for _ in range(2):  # the second time the statistics are no longer the first ones
        copies = [copy.deepcopy(network) for _ in range(3)]
        expected = torch.cat([copies[0](rows[:4]), copies[1](rows[4:8]), copies[2](rows[8:])])
        (expected * weights).sum().backward()
        network.zero_grad()
        made = in_parts(network, rows, rows=3)
        (made * weights).sum().backward()
        torch.testing.assert_close(made, expected)
        for name, weight in network.named_parameters():
            gradients = [one.get_parameter(name).grad for one in copies]
            torch.testing.assert_close(weight.grad, sum(gradients[1:], start=gradients[0]))  # type: ignore[arg-type]
        for name, buffer in network.named_buffers():
            ends = torch.stack([one.get_buffer(name) for one in copies])
            torch.testing.assert_close(buffer, ends.mean(0) if ends.is_floating_point() else ends[0])
        with torch.no_grad():
            network[0].weight += 0.1  # type: ignore[operator]


def test_parts_do_not_matter_without_training_or_batch_norm() -> None:
    network = normed_network().eval()
    rows = torch.randn(11, 3, dtype=torch.float64)
    before = copy.deepcopy(network.state_dict())
    torch.testing.assert_close(in_parts(network, rows, rows=4), network(rows))
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    assert has_batch_norm(network)
    assert not has_batch_norm(network[0])
