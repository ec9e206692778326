import itertools

import numpy as np
import pytest

from likewise.metrics import inputs, ranking

NAMES = ("map_at_r", "r_precision", "precision_at_1")


def naive(rows, labels):
    """Section 4.2 of Musgrave et al. word by word, in float64."""
    unit = rows.astype(np.float64) / np.linalg.norm(rows.astype(np.float64), axis=1, keepdims=True)
    found = []
    for query in range(len(rows)):
        others = [place for place in range(len(rows)) if place != query and labels[place] >= 0]
        others.sort(key=lambda place: -float(unit[query] @ unit[place]))
        right = [bool(labels[place] == labels[query]) for place in others]
        num_right = sum(right)
        if labels[query] < 0 or num_right == 0:
            continue
        precision = [sum(right[: i + 1]) / (i + 1) if right[i] else 0.0 for i in range(num_right)]
        found.append((sum(precision) / num_right, sum(right[:num_right]) / num_right, float(right[0])))
    return np.mean(found, axis=0), len(found)


def test_it_matches_a_naive_loop_whatever_the_tile(monkeypatch):
    rng = np.random.default_rng(0)
    labels = rng.integers(-1, 6, 50)
    rows = (rng.normal(size=(7, 5))[labels] + rng.normal(size=(50, 5))).astype(np.float32)
    expected, count = naive(rows, labels)
    known = int((labels >= 0).sum())
    for tile in (1, 7, 64):
        monkeypatch.setattr(inputs, "TILE_ENTRIES", known * tile)
        figures = ranking(rows, labels)
        assert [figures[name] for name in NAMES] == pytest.approx(expected.tolist())
        assert figures["num_items"] == count


def test_values_worked_by_hand():
    # One query's class has R = 3 others; the order of the others is right, wrong, right, wrong, right.
    angles = np.deg2rad([0, 10, 20, 30, 40, 50])
    rows, labels = np.stack([np.cos(angles), np.sin(angles)], axis=1), np.array([0, 0, 1, 0, 2, 0])
    # the first item: hits at places 1 and 3 of the first 3: (1 + 2/3) / 3
    # 10 degrees: 0 and 20 tie, the wrong one goes first; then 30: hits at 2 and 3: (1/2 + 2/3) / 3
    # 30 degrees: 20 and 40 (wrong) before 10 and 50: a hit at place 3: (1/3) / 3
    # 50 degrees: wrong 40, right 30, wrong 20: a hit at place 2: (1/2) / 3
    figures = ranking(rows, labels)
    assert figures["map_at_r"] == pytest.approx((5 / 3 + 7 / 6 + 1 / 3 + 1 / 2) / 3 / 4)
    assert figures["r_precision"] == pytest.approx((2 + 2 + 1 + 1) / 3 / 4)
    assert figures["precision_at_1"] == pytest.approx(1 / 4)
    assert figures["num_items"] == 4


def test_chance_matches_every_order():
    labels = [0, 0, 0, 1, 2, 2]
    scores = []
    for query in range(6):
        others = [label for place, label in enumerate(labels) if place != query]
        num_right = others.count(labels[query])
        if num_right == 0:
            continue
        by_order = []
        for order in itertools.permutations(others):
            right = [label == labels[query] for label in order[:num_right]]
            hits = [sum(right[: i + 1]) / (i + 1) for i in range(num_right) if right[i]]
            by_order.append((sum(hits) / num_right, sum(right) / num_right, float(order[0] == labels[query])))
        scores.append(np.mean(by_order, axis=0))
    figures = ranking(np.random.default_rng(0).normal(size=(6, 3)), np.array(labels))
    assert [figures[f"chance_{name}"] for name in NAMES] == pytest.approx(np.mean(scores, axis=0).tolist())


def test_neither_order_nor_scale_nor_names_matter():
    rng = np.random.default_rng(0)
    labels = np.repeat(np.arange(5), 8)
    rows = rng.normal(size=(5, 6))[labels] + rng.normal(size=(40, 6))
    first = ranking(rows, labels)
    order = rng.permutation(40)
    for figures in (ranking(rows[order], labels[order]), ranking(3 * rows, 9 - labels)):
        assert figures == pytest.approx(first)


def test_inside_a_domain_only_its_own_items_answer():
    rng = np.random.default_rng(0)
    labels, domains = np.repeat(np.arange(6), 4), np.repeat(np.arange(2), 12)
    rows = rng.normal(size=(24, 5))
    inside = ranking(rows, labels, within=domains)
    parts = [ranking(rows[domains == domain], labels[domains == domain]) for domain in range(2)]
    for name in NAMES:
        assert inside[name] == pytest.approx(np.mean([part[name] for part in parts]))
    assert inside["chance_r_precision"] == pytest.approx(3 / 11)


def test_a_domain_of_one_class_asks_nothing():
    rng = np.random.default_rng(0)
    rows, labels = rng.normal(size=(20, 5)), np.array([0, 1] * 6 + [2] * 8)
    domains = np.repeat([0, 1], [12, 8])
    assert ranking(rows, labels, within=domains) == ranking(rows[:12], labels[:12])
    with pytest.raises(ValueError, match="8 labelled items of each domain are of one class"):
        ranking(rows, labels, within=np.where(domains == 0, -1, domains))


def test_fewer_queries_ask_all_the_others():
    rows, labels = np.eye(30) + 0.01, np.arange(30) // 5
    figures = ranking(rows, labels, max_queries=6)
    assert figures["num_items"] == 6
    assert figures["chance_r_precision"] == pytest.approx(4 / 29)


def test_a_collapsed_model_scores_nothing():
    figures = ranking(np.ones((12, 3)), np.arange(12) % 3)
    assert [figures[name] for name in NAMES] == [0, 0, 0]


def test_what_cannot_be_measured_says_so():
    rows = np.eye(4)
    with pytest.raises(ValueError, match="no two"):
        ranking(rows, np.arange(4))
    with pytest.raises(ValueError, match="no two of 0"):
        ranking(rows, np.full(4, -1))
    with pytest.raises(ValueError, match="row 1"):
        ranking(np.where(np.arange(4)[:, None] == 1, np.nan, rows), np.arange(4) % 2)
    with pytest.raises(ValueError, match="of one class"):
        ranking(rows, np.zeros(4, dtype=int))
