"""Accuracy over fixed trials."""

import numpy as np
import pytest

from likewise.metrics import few_shot, trial_accuracy
from likewise.metrics.episodes import draw_episodes, usable_pools


def test_values_worked_by_hand():
    # Trial 7: classes 0 and 1 along the axes; one query right, one wrong. Trial 9: three classes, one right.
    rows = np.array(
        [[1, 0, 0], [0, 1, 0], [3, 1, 0], [2, 1, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1], [0, 0, 5]], np.float32
    )
    labels = np.array([0, 1, 0, 1, 5, 6, 7, 7])
    trials = np.array([7, 7, 7, 7, 9, 9, 9, 9])
    queries = np.array([0, 0, 1, 1, 0, 0, 0, 1], bool)
    figures = trial_accuracy(rows, labels, trials, queries)
    assert figures["accuracy"] == 0.75
    assert figures["chance_accuracy"] == pytest.approx((1 / 2 + 1 / 3) / 2)
    assert (figures["num_trials"], figures["num_queries"]) == (2, 3)
    # Student's t of one degree of freedom, deviation of 0.5 and 1.0
    assert figures["confidence_interval"] == pytest.approx(
        12.7062 * np.std([0.5, 1], ddof=1) / np.sqrt(2), rel=1e-4
    )


def test_it_agrees_with_random_episodes():
    rng = np.random.default_rng(0)
    labels = np.repeat(np.arange(12), 6)
    rows = (rng.normal(size=(12, 8))[labels] + rng.normal(size=(72, 8))).astype(np.float32)
    pools = usable_pools(labels, num_ways=5, num_shots=2, num_queries=2)
    supports, asked = draw_episodes(pools, 30, np.random.default_rng(3))
    items = np.concatenate([supports, asked], axis=2).reshape(30, -1)  # (E, W * 4)
    queries = np.tile([False, False, True, True], 5)
    figures = trial_accuracy(
        rows[items].reshape(-1, 8), labels[items].ravel(), np.repeat(np.arange(30), 20), np.tile(queries, 30)
    )
    expected = few_shot(rows, labels, num_ways=5, num_shots=2, num_queries=2, num_episodes=30, seed=3)
    for key in ("accuracy", "confidence_interval", "chance_accuracy"):
        assert figures[key] == pytest.approx(expected[key], rel=1e-5)


def test_a_collapsed_model_is_never_right():
    figures = trial_accuracy(
        np.ones((4, 3), np.float32), [0, 1, 0, 1], [0, 0, 0, 0], [False, False, True, True]
    )
    assert figures["accuracy"] == 0
    assert "confidence_interval" not in figures  # one trial has no deviation


@pytest.mark.parametrize(
    ("labels", "queries", "message"),
    [
        ([0, 0, 0], [0, 0, 1], "trial 4 has 1 classes and 1 queries; it needs 2 and 1"),
        ([0, 1, 1], [0, 0, 0], "trial 4 has 2 classes and 0 queries; it needs 2 and 1"),
        ([0, 1, 2], [0, 0, 1], "trial 4 has a query of a class without a support"),
    ],
)
def test_a_trial_without_an_answer_is_refused(labels, queries, message):
    with pytest.raises(ValueError, match=message):
        trial_accuracy(np.eye(3, dtype=np.float32), labels, [4, 4, 4], np.array(queries, bool))
