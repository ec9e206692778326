import math

import numpy as np
import pytest

from likewise.metrics import clustering, describe_clusters, k_means


def corners(num_classes=4, of_each=6, noise=0.01):
    rng = np.random.default_rng(0)
    labels = np.repeat(np.arange(num_classes), of_each)
    return np.eye(num_classes)[labels] + noise * rng.normal(size=(len(labels), num_classes)), labels


def test_classes_apart_are_found():
    rows, labels = corners()
    figures = clustering(rows, labels)
    assert figures["nmi"] == pytest.approx(1)
    assert figures["ari"] == pytest.approx(1)
    assert figures["chance_nmi"] < 0.4
    assert figures["num_clusters"] == 4
    scale = np.random.default_rng(1).uniform(0.5, 5, (len(rows), 1))
    assert clustering(rows * scale, 7 - labels)["nmi"] == pytest.approx(1)


def test_figures_match_their_definitions():
    # corners found, but the labels are 2 of 3 right: contingency [[4, 2], [2, 4]]
    rows, corner = corners(2)
    labels = np.where(np.arange(12) % 3 == 0, 1 - corner, corner)
    figures = clustering(rows, labels)
    table = np.array([[4, 2], [2, 4]]) / 12
    information = sum(p * math.log(p / 0.25) for p in table.ravel())
    assert figures["nmi"] == pytest.approx(information / math.log(2))
    # pairs together in both: 4 choose 2 twice and 2 choose 2 twice; expected 30 * 30 / 66
    assert figures["ari"] == pytest.approx((14 - 30 * 30 / 66) / (30 - 30 * 30 / 66))


def test_unlabelled_items_are_left_out():
    rows, labels = corners()
    more = np.concatenate([rows, -np.ones((3, 4))])
    figures = clustering(more, np.concatenate([labels, [-1, -1, -1]]))
    assert figures == clustering(rows, labels)


def test_clusters_are_described_by_their_members():
    rows, corner = corners(3, 5)
    labels = corner.copy()
    labels[4] = 2  # one of the first corner belongs to another class
    clusters = describe_clusters(rows, labels)
    assert [cluster.purity for cluster in clusters] == [1, 1, 0.8]
    mixed = clusters[-1]
    assert mixed.majority == 0
    assert sorted(mixed.members.tolist()) == [0, 1, 2, 3, 4]
    unit = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    distance = np.linalg.norm(unit[mixed.members] - unit[:5].mean(axis=0), axis=1)
    assert (np.diff(distance) >= 0).all()


def test_it_depends_on_the_seed_alone():
    rows = np.random.default_rng(0).normal(size=(60, 4))
    first, _ = k_means(rows, 7, seed=3)
    again, _ = k_means(rows, 7, seed=3)
    assert (first == again).all()
    labels = np.arange(60) % 5
    assert clustering(rows, labels) == clustering(rows, labels)


def test_a_collapsed_model_agrees_with_nothing():
    figures = clustering(np.ones((12, 3)), np.arange(12) % 3)
    assert figures["nmi"] == 0
    assert figures["ari"] == 0


def test_what_cannot_be_measured_says_so():
    rows, labels = corners()
    with pytest.raises(ValueError, match="two classes"):
        clustering(rows, np.zeros_like(labels))
    with pytest.raises(ValueError, match="alone in its class"):
        clustering(rows, np.arange(len(rows)))
    with pytest.raises(ValueError, match="no item has a label"):
        clustering(rows, np.full_like(labels, -1))
    with pytest.raises(ValueError, match="num_clusters"):
        clustering(rows, labels, num_clusters=25)
    rows[5] = np.nan
    with pytest.raises(ValueError, match="row 5"):
        clustering(rows, labels)
