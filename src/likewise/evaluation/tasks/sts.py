"""Semantic textual similarity: do cosines order pairs of texts as people do?"""

from __future__ import annotations

from typing import Any

import numpy as np

from likewise.data.columns import Needs
from likewise.evaluation.base import Figure, NoOptions, Task, task
from likewise.evaluation.context import Context
from likewise.metrics.collapse import alignment, uniformity
from likewise.metrics.texts.similarity import correlations, pair_cosines, tfidf_cosines, word_overlap

__all__ = ["STS"]

_ALIKE = 0.8
"""Pairs above this share of the scores' range count as positives for alignment: above 4 of 0 to 5, as in
Gao 2021 (2104.08821), section 2.3."""
_MAX_UNIFORMITY_ROWS = 8192
_NUM_SHOWN = 6


@task("sts")
class STS(Task):
    """Correlation of cosines with scores, beside word counts, and pairs to look at."""

    title = "Similarity of texts"
    summary = "scored pairs of texts: rank correlation of their cosines"
    needs = Needs("text", "text_2", "score")
    abilities = ("encode_texts",)
    order = 12
    monitored = "always"
    figures = (
        Figure(
            "spearman",
            "Spearman's correlation",
            better="higher",
            chance=0.0,
            headline="Rank correlation with people",
            curve=True,
        ),
        Figure("pearson", "Pearson's correlation", better="higher", chance=0.0, curve=True),
        Figure("tfidf_spearman", "Spearman's correlation of tf-idf", better="higher", baseline=True),
        Figure("overlap_spearman", "Spearman's correlation of shared words", better="higher", baseline=True),
        Figure("alignment", "Alignment of the pairs that people score highest", better="lower", curve=True),
        Figure("uniformity", "Uniformity", better="lower", curve=True),
        Figure("num_pairs", "Pairs", "count"),
    )
    extras = ("best_pairs", "worst_pairs")

    def run(self, context: Context, options: NoOptions) -> dict[str, Any]:
        """See `Task.run`."""
        data = context.validation
        all_scores = np.asarray(data.column("score").values, dtype=np.float64)
        known = np.flatnonzero(np.isfinite(all_scores))
        if len(known) < 2:
            raise ValueError("fewer than two pairs have a score")
        first, second = (
            [row[0] if row else "" for row in (data.column(name).values[place] for place in known)]
            for name in ("text", "text_2")
        )
        scores = all_scores[known]
        vectors = context.model.encode_texts([*first, *second])
        left, right = vectors[: len(known)], vectors[len(known) :]
        cosines = pair_cosines(left, right)
        lexical = correlations(tfidf_cosines(first, second), scores)
        overlap = correlations(word_overlap(first, second), scores)
        figures: dict[str, Any] = correlations(cosines, scores) | {
            "tfidf_spearman": lexical["spearman"],
            "overlap_spearman": overlap["spearman"],
        }
        low, high = scores.min(), scores.max()
        alike = scores > low + _ALIKE * (high - low)
        figures["alignment"] = alignment(left[alike], right[alike])
        figures["uniformity"] = uniformity(vectors, max_rows=_MAX_UNIFORMITY_ROWS)
        figures["num_pairs"] = float(len(known))
        return figures | _shown_pairs(first, second, scores, cosines)


def _shown_pairs(first: list[str], second: list[str], scores: Any, cosines: Any) -> dict[str, Any]:
    """Pairs whose place by cosine is nearest to their place by score, and farthest from it."""
    from scipy.stats import rankdata

    places = [rankdata(values) / len(scores) for values in (scores, cosines)]
    order = np.argsort(np.abs(places[0] - places[1]), kind="stable")
    # Of the best, those far apart in score: the first few are often all of one score.
    near = order[: max(_NUM_SHOWN, len(order) // 10)]
    by_score = near[np.argsort(-scores[near], kind="stable")]
    best = by_score[np.linspace(0, len(by_score) - 1, min(_NUM_SHOWN, len(by_score))).astype(np.int64)]

    def described(row: int) -> dict[str, Any]:
        return {
            "first": first[row],
            "second": second[row],
            "score": float(scores[row]),
            "cosine": round(float(cosines[row]), 4),
        }

    return {
        "best_pairs": [described(row) for row in best.tolist()],
        "worst_pairs": [described(row) for row in order[::-1][:_NUM_SHOWN].tolist()],
    }
