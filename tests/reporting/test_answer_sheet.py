"""The sheet of answers to a query."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from likewise.reporting.sheets import answer_sheet


def test_the_order_after_re_ranking_is_that_of_the_score_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Images of equal match: the cosine decides, so the match alone would not explain the order."""
    vectors = np.array([[1.0, 0.0], [0.8, 0.6], [0.6, 0.8]], np.float32)
    odds = np.array([0.0, 0.0, 9.0], np.float32)
    judge = SimpleNamespace(
        probabilities=lambda rows, texts: 1 / (1 + np.exp(-odds[rows])),
        posterior=lambda rows, texts: odds[rows] + vectors[rows, 0] / 0.1,
    )
    model: Any = SimpleNamespace(
        encode_texts=lambda query: np.array([[1.0, 0.0]], np.float32),
        encode_dataset_images=lambda images: vectors,
        judge_dataset=lambda images, texts: judge,
    )
    drawn: list[dict[str, Any]] = []
    monkeypatch.setattr(answer_sheet, "_draw", lambda images, query, rankings, path: drawn.append(rankings))
    images: Any = None
    assert answer_sheet.draw_answer(model, images, "a bird", tmp_path / "x.png", num_candidates=3) == 2
    (_, by_cosine), (title, reranked) = drawn[0].items()
    assert by_cosine == [(0, ["cosine 1.00"]), (1, ["cosine 0.80"]), (2, ["cosine 0.60"])]
    assert "score: log odds of the match + cosine / temperature" in title
    assert reranked == [
        (2, ["score 15.0", "match 100%, cosine 0.60"]),
        (0, ["score 10.0", "match 50%, cosine 1.00"]),
        (1, ["score 8.0", "match 50%, cosine 0.80"]),
    ]
