import numpy as np
import pytest
import torch

from likewise.metrics import accuracy_chance, classification_metrics, most_confused


def test_worked_by_hand():
    # true 0 0 0 1 1 2, predicted 0 0 1 1 2 2
    result = classification_metrics([0, 0, 0, 1, 1, 2], [0, 0, 1, 1, 2, 2])
    assert result.confusion.tolist() == [[2, 1, 0], [0, 1, 1], [0, 0, 1]]
    assert result.accuracy == pytest.approx(4 / 6)
    assert result.precision == pytest.approx((1 + 1 / 2 + 1 / 2) / 3)
    assert result.recall == pytest.approx((2 / 3 + 1 / 2 + 1) / 3)
    assert result.f1 == pytest.approx((4 / 5 + 2 / 4 + 2 / 3) / 3)
    assert result.chance_accuracy == pytest.approx(0.5)
    assert most_confused(result.confusion, 5) == [(0, 1, 1), (1, 2, 1)]
    assert most_confused(result.confusion, 1) == [(0, 1, 1)]


@pytest.mark.parametrize("seed", range(5))
def test_matches_scikit_learn(seed):
    metrics = pytest.importorskip("sklearn.metrics")
    rng = np.random.default_rng(seed)
    # seed 4: classes that never occur or are never predicted
    labels, guess = rng.integers(0, 7, 80), rng.integers(2 if seed == 4 else 0, 9, 80)
    result = classification_metrics(labels, guess, num_classes=12)
    precision, recall, f1, _ = metrics.precision_recall_fscore_support(
        labels, guess, average="macro", zero_division=0
    )
    assert (result.precision, result.recall, result.f1) == pytest.approx((precision, recall, f1))
    assert result.accuracy == pytest.approx(metrics.accuracy_score(labels, guess))
    assert (result.confusion == metrics.confusion_matrix(labels, guess, labels=range(12))).all()


def test_items_without_label_are_left_out():
    result = classification_metrics(torch.tensor([0, -1, 1]), torch.tensor([0, 1, 1]))
    assert result.accuracy == 1.0
    assert result.num_items == 2
    assert set(result.figures()) == {"accuracy", "precision", "recall", "f1", "chance_accuracy", "num_items"}


def test_one_class():
    result = classification_metrics([0, 0], [0, 0])
    assert (result.accuracy, result.f1, result.chance_accuracy) == (1.0, 1.0, 1.0)
    assert most_confused(result.confusion, 3) == []


def test_bad_input_is_refused():
    with pytest.raises(ValueError, match="no item"):
        classification_metrics([-1], [0])
    with pytest.raises(ValueError, match="expected shape"):
        classification_metrics([0, 1], [0])
    with pytest.raises(ValueError, match="classes must lie"):
        classification_metrics([0, 1], [0, 5], num_classes=2)
    with pytest.raises(ValueError, match="classes must lie"):
        classification_metrics([0, 1], [0, -1])
    with pytest.raises(ValueError, match="integers"):
        classification_metrics(torch.tensor([0.0, 1.0]), [0, 1])
    with pytest.raises(ValueError, match="no row"):
        accuracy_chance(np.array([-1]))
