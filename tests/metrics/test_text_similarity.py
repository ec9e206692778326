"""Metrics of texts: values by hand, a naive retrieval, degenerate input."""

from __future__ import annotations

import numpy as np
import pytest

from likewise.metrics.relevance import ids_of_texts
from likewise.metrics.texts.similarity import (
    correlations,
    lexical_retrieval,
    pair_cosines,
    text_retrieval,
    tfidf_cosines,
    word_overlap,
)


def test_correlations_by_hand() -> None:
    """One swap of neighbours among four: 1 - 6 * 2 / (4 * 15)."""
    found = correlations(np.array([0.1, 0.3, 0.2, 0.9]), np.array([1.0, 2.0, 3.0, 4.0]))
    assert found["spearman"] == pytest.approx(0.8)
    assert correlations(np.array([1.0, 2.0, 3.0]), np.array([2.0, 4.0, 6.0]))["pearson"] == pytest.approx(1)
    assert correlations(np.array([3.0, 2.0, 1.0]), np.array([1.0, 2.0, 3.0]))["spearman"] == pytest.approx(-1)


def test_a_collapsed_model_has_no_correlation() -> None:
    noise = 1 + 1e-9 * np.arange(5)  # in the order of the scores
    assert correlations(noise, np.arange(5.0)) == {"spearman": 0.0, "pearson": 0.0}


def test_what_has_no_correlation_says_so() -> None:
    with pytest.raises(ValueError, match="two pairs"):
        correlations(np.ones(1), np.ones(1))
    with pytest.raises(ValueError, match="all scores are 3"):
        correlations(np.arange(3.0), np.full(3, 3.0))
    with pytest.raises(ValueError, match="finite"):
        correlations(np.array([1.0, np.nan]), np.arange(2.0))
    with pytest.raises(ValueError, match="equal shapes"):
        pair_cosines(np.ones((2, 3), np.float32), np.ones((3, 3), np.float32))


def test_lexical_baselines() -> None:
    first, second = ["A red ball", "a dog", "红色的球"], ["a RED cube", "the cat", "红色的球"]
    assert word_overlap(first, second).tolist() == pytest.approx([1 / 3, 0, 1])
    cosines = tfidf_cosines(first, second)
    assert 0 < cosines[0] < 1
    assert cosines[1] == 0
    assert cosines[2] == pytest.approx(1)
    with pytest.raises(ValueError, match="no words"):
        tfidf_cosines(["!"], ["?"])


TEXTS = ["one", "two", "three", "One", "four", "five", "two"]
GROUPS = np.array([0, 0, 0, 1, 1, 2, 3])


def naive_ranks(vectors: np.ndarray) -> list[int]:
    """Of each text that has another of its group, by the rules of the docstring, one after another."""
    ids = ids_of_texts(TEXTS)
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    ranks = []
    for query in range(len(TEXTS)):
        right_ids = {ids[other] for other in range(len(TEXTS)) if GROUPS[other] == GROUPS[query]}
        others = [other for other in range(len(TEXTS)) if ids[other] != ids[query]]
        right = [other for other in others if ids[other] in right_ids]
        if right:
            best = max(unit[query] @ unit[other] for other in right)
            wrong = [o for o in others if o not in right and unit[query] @ unit[o] >= best - 1e-9]
            ranks.append(1 + len(wrong))
    return ranks


def test_texts_find_the_others_of_their_group() -> None:
    vectors = np.random.default_rng(3).normal(size=(len(TEXTS), 3)).astype(np.float32)
    found, ranks = text_retrieval(vectors, GROUPS, ids_of_texts(TEXTS)), naive_ranks(vectors)
    assert found["num_texts"] == len(ranks) == 5
    assert found["r1"] == pytest.approx(np.mean([rank == 1 for rank in ranks]))
    assert found["mean_reciprocal_rank"] == pytest.approx(np.mean([1 / rank for rank in ranks]))


def test_chance_is_that_of_random_vectors() -> None:
    groups, texts = np.repeat(np.arange(20), 3), [f"text {number}" for number in range(60)]
    random = np.random.default_rng(0)
    found = [text_retrieval(random.normal(size=(60, 8)), groups, ids_of_texts(texts)) for _ in range(60)]
    for key in ("r1", "r5", "mean_reciprocal_rank"):
        assert np.mean([one[key] for one in found]) == pytest.approx(found[0][f"chance_{key}"], abs=0.02)


def test_ties_count_against_the_model() -> None:
    found = text_retrieval(np.ones((len(TEXTS), 2)), GROUPS, ids_of_texts(TEXTS))
    assert found["r1"] == 0


def test_words_find_what_shares_them() -> None:
    texts = ["a red ball rolls", "the red ball", "two dogs run", "dogs that run"]
    assert lexical_retrieval(texts, np.array([0, 0, 1, 1]), ids_of_texts(texts))["r1"] == 1
    with pytest.raises(ValueError, match="two different texts"):
        text_retrieval(np.eye(3), np.arange(3), np.arange(3))
