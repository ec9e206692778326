import numpy as np
import pytest

from likewise.metrics import best_threshold, equal_error_rate, verification
from likewise.metrics.verification import draw_pairs, halves_of_classes


def made(num_classes=10, of_each=5, noise=1.0):
    rng = np.random.default_rng(0)
    labels = np.repeat(np.arange(num_classes), of_each)
    rows = rng.normal(size=(num_classes, 8))[labels] + noise * rng.normal(size=(len(labels), 8))
    return rows.astype(np.float32), labels


def test_the_threshold_is_never_chosen_where_it_is_measured():
    # In one half of the classes cosines are 0.9 and 0.5, in the other 0.4 and 0.0: each half's own best
    # threshold is right for all of its pairs, the other half's for none but those of one kind.
    labels = np.repeat(np.arange(8), 3)
    first = halves_of_classes(labels, np.random.default_rng(0))
    axes = np.eye(1 + 8 + 24)
    common, of_class, own = axes[:1], axes[1 + labels], axes[9:]
    near = np.sqrt(0.5) * common + np.sqrt(0.4) * of_class + np.sqrt(0.1) * own
    far = np.sqrt(0.4) * of_class + np.sqrt(0.6) * own
    rows = np.where(first[:, None], near, far)
    figures = verification(rows, labels, seed=0)
    assert figures["accuracy"] == 0.5
    assert figures["threshold"] == pytest.approx((0.7 + 0.2) / 2)
    assert verification(far, labels, seed=0)["accuracy"] == 1.0


def test_halves_share_no_class_and_have_pairs():
    labels = np.array([0, 0, 1, 1, 2, 3, 4, 4, 5, 5, -1])
    for seed in range(10):
        half = halves_of_classes(labels, np.random.default_rng(seed))
        assert not set(labels[half]) & set(labels[~half & (labels >= 0)])
        assert not half[-1]
        for part in (half, ~half & (labels >= 0)):
            assert len(set(labels[part])) == 3
            assert np.unique(labels[part], return_counts=True)[1].max() == 2
    domains = labels // 2
    several = np.repeat(np.arange(12), 2)
    half = halves_of_classes(several, np.random.default_rng(0), several // 4)
    assert [len(set(several[half & (several // 4 == domain)])) for domain in range(3)] == [2, 2, 2]
    assert len(domains) == len(labels)


def test_best_threshold_by_hand():
    same = np.array([False, False, True, True])
    assert best_threshold(np.array([0.1, 0.2, 0.3, 0.4]), same) == pytest.approx(0.25)
    assert best_threshold(np.array([0.4, 0.1, 0.2, 0.3])[[1, 2, 3, 0]], same) == pytest.approx(0.25)
    assert best_threshold(np.array([0.5, 0.5]), np.array([True, False])) == -2
    assert best_threshold(np.array([0.1, 0.9, 0.8]), np.array([True, False, False])) == 2


def test_best_threshold_matches_trying_all():
    rng = np.random.default_rng(0)
    for _ in range(20):
        scores, same = rng.integers(0, 12, 30) / 10, rng.random(30) < 0.5
        candidates = [-2.0, 2.0, *(np.unique(scores) - 0.05)]
        best = max(((scores >= cut) == same).mean() for cut in candidates)
        assert ((scores >= best_threshold(scores, same)) == same).mean() == best


def test_equal_error_rate_by_hand():
    assert equal_error_rate(np.array([0, 0.2, 1]), np.array([0, 0.6, 1])) == pytest.approx(1 / 3)
    assert equal_error_rate(np.array([0, 0, 1]), np.array([0, 1, 1])) == 0
    assert equal_error_rate(np.array([0.0, 1]), np.array([0.0, 1])) == 0.5
    assert equal_error_rate(np.array([0, 1.0, 1]), np.array([0, 0, 1.0])) == 1


def test_the_area_matches_a_naive_loop():
    rows, labels = made()
    rng = np.random.default_rng(1)
    pairs = rng.integers(0, len(rows), (400, 2))
    pairs = pairs[pairs[:, 0] != pairs[:, 1]]
    figures = verification(rows, labels, pairs=pairs)
    unit = rows.astype(np.float64) / np.linalg.norm(rows.astype(np.float64), axis=1, keepdims=True)
    cosines = [float(unit[a] @ unit[b]) for a, b in pairs]
    same = [labels[a] == labels[b] for a, b in pairs]
    right = [cosine for cosine, is_same in zip(cosines, same, strict=True) if is_same]
    wrong = [cosine for cosine, is_same in zip(cosines, same, strict=True) if not is_same]
    wins = [float(a > b) + 0.5 * float(a == b) for a in right for b in wrong]
    assert figures["roc_auc"] == pytest.approx(np.mean(wins))
    assert figures["num_pairs"] == len(pairs)


def test_the_curve_is_short_and_rises():
    rng = np.random.default_rng(0)
    labels = np.repeat(np.arange(40), 20)
    figures = verification(rng.normal(size=(800, 16)), labels)
    roc = np.array(figures["roc"])
    assert 50 < len(roc) <= 100
    assert roc[0].tolist() == [0, 0]
    assert roc[-1].tolist() == [1, 1]
    assert (np.diff(roc, axis=0) >= 0).all()
    assert abs(np.trapezoid(roc[:, 1], roc[:, 0]) - figures["roc_auc"]) < 0.01
    assert abs(figures["roc_auc"] - 0.5) < 0.03
    assert abs(figures["accuracy"] - 0.5) < 0.03


def test_pairs_are_balanced_different_and_all_of_them_when_few():
    labels = np.array([0, 0, 0, 1, 1, 2, -1])
    pairs = draw_pairs(labels, num_pairs=1000, generator=np.random.default_rng(0))
    same = labels[pairs[:, 0]] == labels[pairs[:, 1]]
    assert same.tolist() == [True] * 4 + [False] * 4  # four pairs of one class are all there are
    assert len({tuple(sorted(pair)) for pair in pairs.tolist()}) == 8
    assert (labels[pairs] >= 0).all()
    assert (pairs[:, 0] != pairs[:, 1]).all()
    assert len(draw_pairs(np.arange(5), num_pairs=10, generator=np.random.default_rng(0))) == 0
    assert len(draw_pairs(np.full(3, -1), num_pairs=10, generator=np.random.default_rng(0))) == 0


def test_every_pair_is_as_likely():
    labels = np.array([0, 0, 0, 1, 1, 2])
    generator, counts = np.random.default_rng(0), np.zeros((6, 6))
    for _ in range(3000):
        for a, b in draw_pairs(labels, num_pairs=4, generator=generator):
            counts[max(a, b), min(a, b)] += 1
    same = np.tril(labels[:, None] == labels, -1)
    assert abs(counts[same] - 1500).max() < 120  # 6000 over 4 pairs
    assert abs(counts[np.tril(~same, -1)] - 6000 / 11).max() < 100


def test_pairs_stay_inside_a_domain_and_memory_stays_small():
    labels = np.repeat(np.arange(4000), 50)
    domains = labels // 100
    pairs = draw_pairs(labels, num_pairs=2000, generator=np.random.default_rng(0), within=domains)
    assert len(pairs) == 2000
    assert (domains[pairs[:, 0]] == domains[pairs[:, 1]]).all()


def test_it_depends_on_the_seed_alone_and_not_on_scale_or_names():
    rows, labels = made()
    first = verification(rows, labels, num_pairs=60)
    assert verification(rows, labels, num_pairs=60) == first
    assert verification(4 * rows, labels, num_pairs=60) == first
    assert verification(rows, 3 * labels, num_pairs=60) == first
    assert verification(rows, labels, num_pairs=60, seed=1) != first


def test_a_collapsed_model_scores_chance():
    _, labels = made()
    figures = verification(np.ones((len(labels), 3)), labels)
    assert [figures[name] for name in ("accuracy", "roc_auc", "equal_error_rate")] == [0.5, 0.5, 0.5]
    assert figures["threshold"] is None  # to accept every pair is no cosine


def test_a_half_without_a_threshold_does_not_bend_the_mean():
    labels = np.repeat(np.arange(8), 3)
    first = halves_of_classes(labels, np.random.default_rng(0))
    # in one half all items are the same, in the other cosines are 1 and 0
    rows = np.where(first[:, None], np.eye(9)[np.full(24, 8)], np.eye(9)[labels])
    assert verification(rows, labels, seed=0)["threshold"] == pytest.approx(0.5)


def test_what_cannot_be_measured_says_so():
    rows, labels = made()
    for bad in (np.zeros_like(labels), np.arange(len(labels)), labels % 3, np.full_like(labels, -1)):
        with pytest.raises(ValueError, match="four classes"):
            verification(rows, bad)
    broken = rows.copy()
    broken[2] = np.inf
    with pytest.raises(ValueError, match="row 2"):
        verification(broken, labels)
    with pytest.raises(ValueError, match="pairs: rows must lie"):
        verification(rows, labels, pairs=np.array([[0, 99]]))
    with pytest.raises(ValueError, match="expected \\(P, 2\\)"):
        verification(rows, labels, pairs=np.array([0, 1]))
    with pytest.raises(ValueError, match="no class"):
        verification(rows, np.where(labels == 0, -1, labels), pairs=np.array([[0, 9]]))


def test_too_few_pairs_are_refused_by_name():
    rows, labels = made()
    with pytest.raises(ValueError, match="num_pairs must be at least 4"):
        verification(rows, labels, num_pairs=3)
    assert verification(rows, labels, num_pairs=4)["num_pairs"] == 4
