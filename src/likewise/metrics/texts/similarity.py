"""Similarity of texts: agreement with people's scores, retrieval within groups, lexical baselines.

N pairs, M texts, D embedding width.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from likewise.metrics.chance import first_hit_chance
from likewise.metrics.inputs import Array, as_labels, as_unit_pair, as_unit_rows, rows_per_tile
from likewise.metrics.relevance import images_and_texts
from likewise.metrics.retrieval import RECALL_AT, ranks_in, recalls

__all__ = [
    "correlations",
    "lexical_retrieval",
    "pair_cosines",
    "text_retrieval",
    "tfidf_rows",
    "tfidf_cosines",
    "word_overlap",
]

# Chinese and Japanese characters are words of their own; other words have two characters or more.
_OWN = "\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
_WORD = re.compile(rf"[{_OWN}]|[^\W{_OWN}]{{2,}}")

Similarities = Callable[[int, int], torch.Tensor]
"""From a range of M texts to their (rows, M) similarities with all."""


def correlations(predicted: Array, scores: Array) -> dict[str, float]:
    """Spearman's and Pearson's correlation of N predictions with N scores.

    Over all pairs together, as in Reimers and Gurevych 2019 (1908.10084) and SimCSE's setting "all".

    Args:
        predicted: (N,) any float dtype.
        scores: (N,).

    Returns:
        `spearman` and `pearson`; 0 where all predictions are equal, for which neither is defined.

    Raises:
        ValueError: fewer than two pairs, other shapes, values that are not finite, or all scores equal.
    """
    from scipy.stats import pearsonr, spearmanr

    first, second = (np.asarray(values, dtype=np.float64) for values in (predicted, scores))
    if first.shape != second.shape or first.ndim != 1:
        raise ValueError(f"expected as many predictions as scores, got {first.shape} and {second.shape}")
    if len(first) < 2:
        raise ValueError("a correlation needs two pairs or more")
    if not (np.isfinite(first).all() and np.isfinite(second).all()):
        raise ValueError("predictions and scores must be finite")
    if np.ptp(second) == 0:
        raise ValueError(f"all scores are {second[0]:g}, so nothing can correlate with them")
    # Cosines of equal vectors differ in their last digits; their order would be noise.
    if np.ptp(first) < 1e-6:
        return {"spearman": 0.0, "pearson": 0.0}
    return {
        "spearman": float(spearmanr(first, second).statistic),
        "pearson": float(pearsonr(first, second).statistic),
    }


def pair_cosines(first: Array, second: Array) -> NDArray[np.float64]:
    """(N,) cosines of row i of (N, D) with row i of (N, D)."""
    a, b = as_unit_pair(first, second, ("first", "second"))
    if a.shape != b.shape:
        raise ValueError(f"pairs need equal shapes, got {tuple(a.shape)} and {tuple(b.shape)}")
    cosines: NDArray[np.float64] = (a.double() * b.double()).sum(dim=1).cpu().numpy()
    return cosines


def word_overlap(first: Sequence[str], second: Sequence[str]) -> NDArray[np.float64]:
    """(N,) shared words of two texts by all their words (Jaccard's index); 0 for texts without a word."""
    pairs = [(set(_words(a)), set(_words(b))) for a, b in zip(first, second, strict=True)]
    return np.array([len(a & b) / max(1, len(a | b)) for a, b in pairs], dtype=np.float64)


def tfidf_rows(texts: Sequence[str]) -> Any:
    """Sparse (M, words) unit rows of tf-idf weights, of frequencies in these texts alone."""
    from sklearn.feature_extraction.text import TfidfVectorizer

    vectorizer = TfidfVectorizer(analyzer=_words, sublinear_tf=True)
    try:
        return vectorizer.fit_transform(texts)
    except ValueError as error:
        raise ValueError("the texts have no words") from error


def tfidf_cosines(first: Sequence[str], second: Sequence[str]) -> NDArray[np.float64]:
    """(N,) cosines of the tf-idf weights of two texts."""
    rows = tfidf_rows([*first, *second])
    products = rows[: len(first)].multiply(rows[len(first) :]).sum(axis=1)
    return np.asarray(products, dtype=np.float64).ravel()


def _words(text: str) -> list[str]:
    return _WORD.findall(text.casefold())


def text_retrieval(embeddings: Array, groups: Array, text_ids: Array) -> dict[str, float]:
    """How well each text finds the other texts of its group, by cosine among all others.

    Args:
        embeddings: (M, D).
        groups: (M,) integers.
        text_ids: (M,) integers, equal for equal texts. Copies of the query itself are left out, wherever they
            are; a copy of a right answer is right too.

    Returns:
        `r1`, `r5`, `r10`, `mean_reciprocal_rank`, the same behind `chance_`, and `num_texts`, the queries
        that have a right answer. Ties count against the model.

    Raises:
        ValueError: shapes that do not fit, values that are not finite, or no group of two different texts.
    """
    rows = as_unit_rows(embeddings, "embeddings")
    return _retrieved(lambda start, stop: rows[start:stop] @ rows.T, len(rows), groups, text_ids)


def lexical_retrieval(texts: Sequence[str], groups: Array, text_ids: Array) -> dict[str, float]:
    """As `text_retrieval`, by the cosine of tf-idf weights."""
    rows = tfidf_rows(texts)

    def similarities(start: int, stop: int) -> torch.Tensor:
        return torch.from_numpy((rows[start:stop] @ rows.T).toarray())

    return _retrieved(similarities, len(texts), groups, text_ids)


def _retrieved(similarities: Similarities, count: int, groups: Array, text_ids: Array) -> dict[str, float]:
    device = torch.device("cpu")
    of_texts = as_labels(groups, "groups", count=count, device=device)
    ids = as_labels(text_ids, "text_ids", count=count, device=device)
    relevance, _ = images_and_texts(of_texts, of_texts, ids)
    ranks, candidates = [], Counter[tuple[int, int]]()
    step = rows_per_tile(count)
    for start in range(0, count, step):
        stop = min(start + step, count)
        copies = ids[start:stop, None] == ids  # (q, M), the query itself among them
        right = relevance.rows(start, stop) & ~copies
        found = ranks_in(similarities(start, stop).cpu().masked_fill(copies, -torch.inf), right)
        ranks.append(found[found > 0])
        pairs = torch.stack([right.sum(dim=1), (~copies).sum(dim=1)], dim=1)[found > 0]
        candidates.update(map(tuple, pairs.tolist()))
    place = torch.cat(ranks)
    if len(place) == 0:
        raise ValueError("no group has two different texts, so none can find another")
    figures = recalls(place) | {"mean_reciprocal_rank": float((1 / place.double()).mean())}
    return (
        figures
        | {f"chance_{key}": value for key, value in _chance(candidates).items()}
        | {"num_texts": float(len(place))}
    )


def _chance(candidates: Counter[tuple[int, int]]) -> dict[str, float]:
    """Of a random order, for so many queries with so many right ones among so many candidates."""
    total = candidates.total()
    mean: dict[str, float] = {}
    by_size: dict[int, list[int]] = {}
    for (num_right, size), queries in candidates.items():
        by_size.setdefault(size, []).extend([num_right] * queries)
    for size, num_right_each in by_size.items():
        for key, value in first_hit_chance(num_right_each, size, RECALL_AT).items():
            mean[key] = mean.get(key, 0.0) + value * len(num_right_each) / total
    return {key: value for key, value in mean.items() if key != "median_rank"}
