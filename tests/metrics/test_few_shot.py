import sys

import numpy as np
import pytest
import torch

from likewise.metrics import episode_examples, few_shot, most_ways
from likewise.metrics.episodes import draw_episodes, usable_pools

few_shot_module = sys.modules["likewise.metrics.few_shot"]  # the package has the function by that name


def made(num_classes=12, of_each=6, width=10, noise=1.0, seed=0):
    rng = np.random.default_rng(seed)
    labels = np.repeat(np.arange(num_classes), of_each)
    rows = rng.normal(size=(num_classes, width))[labels] + noise * rng.normal(size=(len(labels), width))
    return rows.astype(np.float32), labels


def test_values_worked_by_hand():
    # classes along the axes, two items each at 0.9 of their own: every query finds its class
    rows = np.repeat(np.eye(4, dtype=np.float32), 2, axis=0) + 0.1
    figures = few_shot(rows, np.repeat(np.arange(4), 2), num_ways=4, num_episodes=50)
    assert figures["accuracy"] == 1.0
    assert figures["confidence_interval"] == 0.0
    assert figures["chance_accuracy"] == 0.25
    # Two classes of an item near each axis. Supports near different axes: both queries are mistaken. Both
    # near the same one: the class whose support is the nearer to the other axis gets both queries.
    mixed = np.array([0, 1, 1, 0])
    rows = np.array([[1, 0], [0, 1], [0.9, 0.1], [0.1, 0.9]], dtype=np.float32)
    accuracy = few_shot(rows, mixed, num_ways=2, num_episodes=4000)["accuracy"]
    assert accuracy == pytest.approx(0.25, abs=0.02)


def test_it_matches_a_naive_loop():
    rows, labels = made()
    unit = rows.astype(np.float64) / np.linalg.norm(rows.astype(np.float64), axis=1, keepdims=True)
    for shots, queries in ((1, 1), (3, 2)):
        pools = usable_pools(labels, num_ways=5, num_shots=shots, num_queries=queries)
        supports, asked = draw_episodes(pools, 60, np.random.default_rng(7))
        accuracies = []
        for support, query in zip(supports, asked, strict=True):
            means = [unit[chosen].mean(axis=0) for chosen in support]
            hits = []
            for way in range(5):
                for row in query[way]:
                    cosines = [float(unit[row] @ mean / np.linalg.norm(mean)) for mean in means]
                    hits.append(int(np.argmax(cosines)) == way)
            accuracies.append(np.mean(hits))
        figures = few_shot(
            rows, labels, num_ways=5, num_shots=shots, num_queries=queries, num_episodes=60, seed=7
        )
        assert figures["accuracy"] == pytest.approx(np.mean(accuracies))
        expected = 2.001 * np.std(accuracies, ddof=1) / np.sqrt(60)  # Student's t, 59 degrees of freedom
        assert figures["confidence_interval"] == pytest.approx(expected, rel=1e-4)


def test_episodes_are_of_different_classes_and_different_items():
    _, labels = made(of_each=5)
    labels[::7] = -1
    pools = usable_pools(labels, num_ways=6, num_shots=2, num_queries=2)
    supports, queries = draw_episodes(pools, 200, np.random.default_rng(0))
    for support, query in zip(supports, queries, strict=True):
        classes = labels[support[:, 0]]
        assert len(set(classes.tolist())) == 6
        assert (labels[support] == classes[:, None]).all()
        assert (labels[query] == classes[:, None]).all()
        assert (classes >= 0).all()
        assert len(set(support.ravel().tolist()) | set(query.ravel().tolist())) == 24


def test_every_item_and_class_is_drawn_as_often():
    labels = np.repeat(np.arange(4), 5)
    pools = usable_pools(labels, num_ways=2, num_shots=1, num_queries=1)
    supports, queries = draw_episodes(pools, 6000, np.random.default_rng(0))
    for rows in (supports, queries):
        counts = np.bincount(rows.ravel(), minlength=20)
        assert abs(counts - 600).max() < 100  # four standard deviations of a binomial
    together = np.bincount((supports % 5 * 5 + queries % 5).ravel(), minlength=25).reshape(5, 5)
    assert (np.diagonal(together) == 0).all()
    assert abs(together[~np.eye(5, dtype=bool)] - 600).max() < 100


def test_inside_a_domain_the_domain_tells_nothing():
    domains = np.repeat(np.arange(5), 40)
    labels = np.repeat(np.arange(50), 4)  # ten classes a domain
    rows = np.eye(5, dtype=np.float32)[domains] + 1e-3 * np.random.default_rng(0).normal(size=(200, 5))
    across = few_shot(rows, labels, num_ways=5, num_episodes=400)
    inside = few_shot(rows, labels, num_ways=5, num_episodes=400, within=domains)
    assert across["accuracy"] > 0.4
    assert abs(inside["accuracy"] - 0.2) < 0.05
    assert inside["num_domains"] == 5
    for episode in episode_examples(rows, labels, num_ways=5, within=domains):
        assert len(set(domains[episode.supports].ravel()) | set(domains[episode.queries].ravel())) == 1


def test_domains_that_cannot_fill_an_episode_are_left_out():
    rows, labels = made()
    domains = np.where(labels < 3, 0, 1)
    assert few_shot(rows, labels, num_ways=5, within=domains, num_episodes=10)["num_domains"] == 1
    with pytest.raises(ValueError, match=r"10-way episodes need 10 classes of at least 2 items.*one domain"):
        few_shot(rows, labels, num_ways=10, within=domains)


def test_supports_are_of_one_source_and_queries_of_another():
    labels, sources = np.repeat(np.arange(8), 4), np.tile(np.arange(4), 8)
    domains = labels // 4
    pools = usable_pools(labels, num_ways=4, num_shots=1, num_queries=1, within=domains, sources=sources)
    supports, queries = draw_episodes(pools, 300, np.random.default_rng(0))
    for support, query in zip(supports[..., 0], queries[..., 0], strict=True):
        assert len(set(sources[support])) == len(set(sources[query])) == 1
        assert sources[support[0]] != sources[query[0]]
        assert (labels[support] == labels[query]).all()
    assert len({(sources[s[0, 0]], sources[q[0, 0]]) for s, q in zip(supports, queries, strict=True)}) == 12
    with pytest.raises(ValueError, match="by two sources"):
        few_shot(np.eye(32, dtype=np.float32), labels, num_ways=4, sources=labels)


def test_it_depends_on_the_seed_alone_and_not_on_the_scale():
    rows, labels = made()
    first = few_shot(rows, labels, num_ways=8, num_episodes=50, seed=3)
    assert first == few_shot(
        torch.from_numpy(rows), torch.from_numpy(labels), num_ways=8, num_episodes=50, seed=3
    )
    scaled = rows * np.random.default_rng(1).uniform(0.1, 10, (len(rows), 1)).astype(np.float32)
    assert few_shot(scaled, labels, num_ways=8, num_episodes=50, seed=3) == first
    renamed = few_shot(rows, 100 + 7 * labels, num_ways=8, num_episodes=50, seed=3)
    assert renamed == first
    assert few_shot(rows, labels, num_ways=8, num_episodes=50, seed=4) != first


def test_a_collapsed_model_scores_chance():
    _, labels = made()
    figures = few_shot(np.ones((len(labels), 4), np.float32), labels, num_ways=10, num_episodes=20)
    assert figures["accuracy"] == pytest.approx(figures["chance_accuracy"])


def test_the_examples_are_the_most_mistaken():
    rows, labels = made(noise=1.5)
    examples = episode_examples(rows, labels, num_ways=6, num_examples=5)
    mistakes = [episode.num_mistakes for episode in examples]
    assert mistakes == sorted(mistakes, reverse=True)
    assert mistakes[0] > 0
    for episode in examples:
        assert (episode.similarities.argmax(axis=-1) == episode.predicted).all()


def test_some_episodes_at_a_time_give_the_same(monkeypatch):
    rows, labels = made(noise=1.5)
    given = {"num_ways": 8, "num_shots": 2, "num_queries": 3}
    figures = few_shot(rows, labels, num_episodes=50, **given)
    examples = episode_examples(rows, labels, num_examples=3, **given)
    entries = 3 * 8 * (5 * 10 + 3 * 8)  # of three episodes: supports, queries and cosines
    monkeypatch.setattr(few_shot_module, "TILE_ENTRIES", entries)
    pools = usable_pools(labels, **given)
    drawn = draw_episodes(pools, 50, np.random.default_rng(0))
    tiles = list(few_shot_module._similarities(torch.from_numpy(rows), *drawn))
    assert [first for first, _ in tiles] == list(range(0, 50, 3))
    assert all(len(cosines) <= 3 for _, cosines in tiles)
    assert few_shot(rows, labels, num_episodes=50, **given) == pytest.approx(figures)
    for one, other in zip(episode_examples(rows, labels, num_examples=3, **given), examples, strict=True):
        assert (one.supports == other.supports).all()
        assert (one.predicted == other.predicted).all()
        assert one.similarities.base is None  # no tile is kept for it


def test_most_ways_counts_classes_with_enough_items():
    labels, domains = np.array([0, 0, 1, 1, 1, 2, -1, -1, 3, 3]), np.array([0, 0, 0, 0, 0, 0, 0, 0, 1, 1])
    assert most_ways(labels) == 3
    assert most_ways(labels, num_items=3) == 1
    assert most_ways(labels, within=domains) == 2
    assert most_ways(np.array([-1, -1])) == 0


def test_what_cannot_be_measured_says_so():
    rows, labels = made()
    for counts in ({"num_ways": 1}, {"num_shots": 0}, {"num_queries": 0}, {"num_episodes": 1}):
        with pytest.raises(ValueError, match="at least"):
            few_shot(rows, labels, **({"num_ways": 5} | counts))
    with pytest.raises(ValueError, match="20-way"):
        few_shot(rows, labels)
    with pytest.raises(ValueError, match="2-way"):
        few_shot(rows, np.zeros_like(labels), num_ways=2)
    with pytest.raises(ValueError, match="2-way"):
        few_shot(rows, np.arange(len(rows)), num_ways=2)
    broken = rows.copy()
    broken[3, 2] = np.nan
    with pytest.raises(ValueError, match="row 3"):
        few_shot(broken, labels, num_ways=5)
    with pytest.raises(ValueError, match="within"):
        few_shot(rows, labels, num_ways=5, within=labels[:-1])


def test_too_few_items_say_how_large_the_classes_are():
    labels = np.array([0, 0, 0, 1, 1, 2, 3, -1])
    with pytest.raises(
        ValueError, match=r"there are 4 classes of 7 items in all, the largest of 3, 2, 1, 1$"
    ):
        few_shot(np.eye(8, dtype=np.float32), labels, num_ways=4, num_shots=5)
