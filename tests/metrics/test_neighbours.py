import math

import numpy as np
import pytest
import torch

from likewise.metrics import Neighbours, inputs, knn_predict, nearest, neighbours


def test_nearest_matches_a_full_sort_whatever_the_tile(monkeypatch):
    generator = torch.Generator().manual_seed(0)
    queries, bank = torch.randn(37, 8, generator=generator), torch.randn(53, 8, generator=generator)
    unit = lambda rows: rows / rows.norm(dim=1, keepdim=True)  # noqa: E731
    expected = (unit(queries) @ unit(bank).T).argsort(dim=1, descending=True)[:, :7]
    for tile in (1, 10, 100):
        monkeypatch.setattr(inputs, "TILE_ENTRIES", 53 * tile)
        found = nearest(queries, bank, 7)
        assert torch.equal(found.indices, expected)
        assert (found.similarities.diff(dim=1) <= 0).all()


def test_leave_one_out_never_finds_itself(monkeypatch):
    monkeypatch.setattr(inputs, "TILE_ENTRIES", 3 * 20)
    rows = torch.randn(20, 4, generator=torch.Generator().manual_seed(1))
    found = nearest(rows, rows, 50, leave_one_out=True)
    assert found.indices.shape == (20, 19)
    assert not (found.indices == torch.arange(20)[:, None]).any()


def test_votes_worked_by_hand():
    # cosines to the query (1, 0): 0.8 and 0.6, 0.6 of two classes; weights exp(s / 0.1)
    bank = torch.tensor([[0.8, 0.6], [0.6, 0.8], [0.6, -0.8]])
    labels = torch.tensor([0, 1, 1])
    query = torch.tensor([[2.0, 0.0]])
    # one of e^8 against two of e^6: 2981 > 807
    assert knn_predict(bank, labels, query, k=3, temperature=0.1).tolist() == [0]
    # at temperature 1, e^0.8 = 2.23 against 2 e^0.6 = 3.64
    assert knn_predict(bank, labels, query, k=3, temperature=1.0).tolist() == [1]
    assert knn_predict(bank, labels, query, k=1, temperature=1.0).tolist() == [0]


def test_prediction_matches_a_naive_loop():
    rng = np.random.default_rng(0)
    train, test = rng.normal(size=(60, 6)).astype(np.float32), rng.normal(size=(25, 6)).astype(np.float32)
    labels = rng.integers(0, 4, 60)
    expected = []
    for row in test:
        cosines = [float(row @ other / np.linalg.norm(row) / np.linalg.norm(other)) for other in train]
        votes = [0.0] * 4
        for place in sorted(range(60), key=lambda place: -cosines[place])[:9]:
            votes[labels[place]] += math.exp(cosines[place] / 0.07)
        expected.append(int(np.argmax(votes)))
    assert knn_predict(train, labels, test, k=9, num_classes=4).tolist() == expected


def test_rows_without_label_do_not_vote():
    bank, labels = torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.9, 0.1]]), torch.tensor([0, 1, -1])
    queries = torch.tensor([[0.9, 0.1], [0.1, 0.9]])
    assert knn_predict(bank, labels, queries, k=1).tolist() == [0, 1]
    with pytest.raises(ValueError, match="no row has a label"):
        knn_predict(bank, torch.full((3,), -1), queries)


def test_votes_are_counted_a_tile_at_a_time(monkeypatch):
    generator = torch.Generator().manual_seed(0)
    bank, queries = torch.randn(30, 5, generator=generator), torch.randn(11, 5, generator=generator)
    labels = torch.arange(30) % 4
    expected, asked = knn_predict(bank, labels, queries, k=5, num_classes=7), []
    monkeypatch.setattr(neighbours, "rows_per_tile", lambda columns: asked.append(columns) or 3)
    assert torch.equal(knn_predict(bank, labels, queries, k=5, num_classes=7), expected)
    assert asked == [30, 7]  # similarities to the bank, votes for the classes


def test_labels_follow_the_queries_to_their_device(monkeypatch):
    take = torch.Tensor.__getitem__

    def strict(self, index):  # as CUDA does it; the meta device lets it pass
        if isinstance(index, torch.Tensor) and index.device.type != "cpu":
            assert index.device == self.device
        return take(self, index)

    far = Neighbours(torch.zeros(4, 2, device="meta"), torch.zeros(4, 2, dtype=torch.int64, device="meta"))
    monkeypatch.setattr(neighbours, "_nearest", lambda *given, **named: far)
    monkeypatch.setattr(torch.Tensor, "__getitem__", strict)
    found = knn_predict(torch.eye(3), torch.tensor([0, 1, 2]), torch.ones(4, 3), k=2)
    assert found.device.type == "meta"


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_queries_and_bank_may_lie_on_different_devices():
    bank, labels = torch.eye(3), torch.tensor([0, 1, 2])
    for first, second in (("cpu", "cuda"), ("cuda", "cpu")):
        found = knn_predict(bank.to(first), labels.to(first), bank.to(second), k=1)
        assert found.device.type == second
        assert found.tolist() == [0, 1, 2]


def test_a_tiny_temperature_does_not_overflow():
    bank = torch.eye(3)
    assert knn_predict(bank, torch.tensor([0, 1, 2]), bank, k=3, temperature=1e-6).tolist() == [0, 1, 2]


def test_collapsed_embeddings_know_no_more_than_chance():
    labels = torch.arange(100) % 10
    predicted = knn_predict(torch.ones(100, 4), labels, torch.ones(100, 4), k=20)
    assert (predicted == labels).double().mean() <= 0.2


def test_one_class_and_one_item():
    one = torch.ones(1, 2)
    assert knn_predict(one, torch.zeros(1, dtype=torch.int64), one, k=20).tolist() == [0]
    with pytest.raises(ValueError, match="no neighbours"):
        nearest(torch.ones(1, 2), torch.ones(1, 2), 1, leave_one_out=True)


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_values_that_are_not_finite_are_refused(bad):
    rows = torch.ones(3, 2)
    rows[1, 0] = bad
    with pytest.raises(ValueError, match="first is row 1"):
        nearest(rows, torch.ones(3, 2), 1)
    with pytest.raises(ValueError, match="first is row 1"):
        knn_predict(rows, torch.zeros(3, dtype=torch.int64), torch.ones(3, 2))


def test_shapes_and_ranges_are_checked():
    rows, labels = torch.ones(3, 2), torch.tensor([0, 1, 2])
    with pytest.raises(ValueError, match="dimensions"):
        nearest(rows, torch.ones(3, 5), 1)
    with pytest.raises(ValueError, match="expected shape"):
        knn_predict(rows, labels[:2], rows)
    with pytest.raises(ValueError, match="integers"):
        knn_predict(rows, labels.float(), rows)
    with pytest.raises(ValueError, match="num_classes"):
        knn_predict(rows, labels, rows, num_classes=2)
    with pytest.raises(ValueError, match="temperature"):
        knn_predict(rows, labels, rows, temperature=0.0)
    with pytest.raises(ValueError, match="non-empty"):
        nearest(torch.ones(0, 2), rows, 1)
