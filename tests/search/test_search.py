"""Searches find what a naive search finds; filters come first; scores say what they mean."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from numpy.typing import NDArray

from likewise.errors import DataError
from likewise.model import Model
from likewise.search import Index, Term, approximate, exact, query_vector
from likewise.search.approximate import approximate_search, build_approximate, open_approximate
from likewise.search.calibration import TAIL, RandomTexts, best_of_random, percentiles, random_scores
from likewise.search.exact import exact_search
from likewise.search.query_syntax import parse_images, parse_query
from likewise.search.terms import combined


def unit(vectors: NDArray[np.floating]) -> NDArray[np.float32]:
    return (vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)).astype(np.float32)


def naive(
    vectors: NDArray[np.floating], query: NDArray[np.floating], top: int, rows: Sequence[int]
) -> list[int]:
    """The best rows one by one, in float64; equal ones by number."""
    scores = {row: float(vectors[row].astype(np.float64) @ query.astype(np.float64)) for row in rows}
    return sorted(rows, key=lambda row: (-scores[row], row))[:top]


@pytest.mark.parametrize("dtype", [np.float32, np.float16])
@pytest.mark.parametrize("block_rows", [7, 1000])
def test_exact_search_is_the_naive_one(dtype: type, block_rows: int, monkeypatch: pytest.MonkeyPatch) -> None:
    draws = np.random.default_rng(0)
    vectors = unit(draws.normal(size=(200, 16))).astype(dtype)
    queries = unit(draws.normal(size=(5, 16)))
    monkeypatch.setattr(exact, "_BLOCK_BYTES", 4 * 16 * block_rows)
    chosen = np.sort(draws.choice(200, 30, replace=False))
    for rows in (None, chosen):
        for top in (1, 9, 300):
            hits = exact_search(vectors, queries, top=top, rows=rows)
            among = list(range(200)) if rows is None else rows.tolist()
            assert hits.rows.shape == (5, min(top, len(among)))
            for query, found, scores in zip(queries, hits.rows, hits.scores, strict=True):
                assert found.tolist() == naive(vectors, query, top, among)
                np.testing.assert_allclose(scores, vectors[found].astype(np.float32) @ query, atol=1e-6)


def test_equal_scores_come_by_row(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exact, "_BLOCK_BYTES", 4 * 2 * 3)
    vectors = np.tile(np.array([[1, 0], [0, 1]], np.float32), (6, 1))
    hits = exact_search(vectors, np.array([[1, 0]], np.float32), top=4, rows=None)
    assert hits.rows.tolist() == [[0, 2, 4, 6]]
    none = exact_search(vectors, np.array([[1, 0]], np.float32), top=4, rows=np.zeros(0, np.int64))
    assert none.rows.shape == (1, 0)


def test_filters_come_first(index: Index) -> None:
    query = unit(np.random.default_rng(1).normal(size=(1, index.dimension)))
    rows = index.matching({"label": "blue", "split": "validation"})
    assert rows.tolist() == [8, 20]
    assert index.search(query, top=10, rows=rows).rows[0].tolist() == naive(
        np.asarray(index.vectors), query[0], 10, rows.tolist()
    )
    assert index.matching([("price", "12.5")]).tolist() == [5]
    assert index.matching({"captions": "a red square number 3"}).tolist() == [3]
    assert index.matching({"label": "pink"}).tolist() == []
    with pytest.raises(DataError, match="no column colour; it has id, path, captions"):
        index.matching({"colour": "blue"})


def test_conditions_in_sql_reach_the_table_alone(index: Index) -> None:
    pytest.importorskip("duckdb", reason="DuckDB is not installed")
    assert index.where("label = 'blue' and price > 18").tolist() == [17, 20, 23]
    assert index.where("captions[1] like '%number 1%' -- a remark").tolist() == [1, *range(10, 20)]
    for condition, said in (
        ("prize > 18", "columns: id, path"),
        ("label in (select column0 from read_csv('/etc/passwd'))", "where"),
        ("1 = 1); copy rows to '/tmp/x.csv'; select (1", "where"),
        ("", "is empty"),
    ):
        with pytest.raises(DataError, match=said):
            index.where(condition)


def test_queries_add_up(model: Model, index: Index) -> None:
    horse, stripes = model.encode_texts(["horse", "stripes"])
    expected = horse - 0.5 * stripes
    found = query_vector(model, [Term(text="horse"), Term(text="stripes", weight=-0.5)])
    np.testing.assert_allclose(found, expected / np.linalg.norm(expected), atol=1e-6)
    path = index.records([3])[0]["path"]
    image = query_vector(model, [Term(image=path)])
    np.testing.assert_allclose(image, index.like("003.png"), atol=1e-6)
    assert index.search(image[None], top=1).rows[0].tolist() == [3]
    with pytest.raises(DataError, match="cancel out"):
        query_vector(model, [Term(text="horse"), Term(text="horse", weight=-1.0)])
    with pytest.raises(DataError, match="is empty"):
        query_vector(model, [])
    with pytest.raises(DataError, match="no id 3"):
        index.like("3.png")
    np.testing.assert_allclose(
        combined([np.array([1.0, 0]), np.array([0, 1.0])], [3, 4]), [0.6, 0.8], atol=1e-7
    )


def test_queries_as_one_types_them() -> None:
    assert parse_query("a t-shirt + 0.5*stripes - old people") == [
        Term(text="a t-shirt"),
        Term(text="stripes", weight=0.5),
        Term(text="old people", weight=-1.0),
    ]
    assert parse_query("- people + beach") == [Term(text="people", weight=-1.0), Term(text="beach")]
    assert parse_query("2 dogs") == [Term(text="2 dogs")]
    assert parse_images(("a.jpg", "2*b - c.jpg"), sign=-1) == [
        Term(image="a.jpg", weight=-1.0),
        Term(image="b - c.jpg", weight=-2.0),
    ]
    for wrong in ("", "horse + ", "+", "0*horse"):
        with pytest.raises(DataError):
            parse_query(wrong)


def test_random_pairs_are_no_own_pairs() -> None:
    rows = np.eye(4, dtype=np.float32)  # a row has cosine 1 with itself and its own text, 0 with others
    texts = RandomTexts(np.eye(4, dtype=np.float32), np.arange(4))
    for kinds in (("text",), ("image",)):
        scores = random_scores(texts, rows, kinds, (1.0,))
        assert len(scores) == 512 * 3
        assert (scores == 0).all()
    two = random_scores(texts, rows, ("text", "image"), (1.0, -1.0))
    assert (two == 0).all()  # rows of neither term
    common = RandomTexts(texts.vectors, np.full(4, -1))
    assert np.mean(random_scores(common, rows, ("text",), (1.0,))) == pytest.approx(0.25)
    assert (
        len(random_scores(RandomTexts(np.zeros((0, 4), np.float32), np.zeros(0)), rows, ("text",), (1,))) == 0
    )


def test_percentiles_by_hand() -> None:
    quantiles = TAIL.tolist()  # scores that are evenly spread over [0, 1]
    np.testing.assert_allclose(
        percentiles(np.array([0.25, 0.9995, 2.0, -1.0], np.float32), quantiles),
        [25, 99.95, 99.999, 0],
        atol=2e-3,
    )
    assert np.isnan(percentiles(np.zeros(1, np.float32), None)).all()
    assert best_of_random(100, quantiles) == pytest.approx(0.99)
    assert best_of_random(100, None) == -1


def test_scores_are_compared_with_random_pairs_of_the_same_form(model: Model, index: Index) -> None:
    terms = [Term(text="a red square"), Term(text="a blue square", weight=-1.0)]
    every = index.search(query_vector(model, terms)[None], top=24).scores[0]
    percent = index.percentile(every, terms)
    assert (np.diff(percent) <= 0).all()
    assert ((percent >= 0) & (percent < 100)).all()
    plain = index.percentile(every)
    assert not np.allclose(plain, percent)  # differences of texts lie elsewhere than texts do
    captions = [record["captions"][0] for record in index.records(range(24))]
    others = model.encode_texts(captions) @ np.asarray(index.vectors).T
    median = np.median(others[~np.eye(24, dtype=bool)])
    assert index.percentile(np.array([median]))[0] == pytest.approx(50, abs=3)


def test_approximate_search_reaches_its_recall(tmp_path) -> None:  # type: ignore[no-untyped-def]
    pytest.importorskip("faiss", reason="faiss is not installed")
    draws = np.random.default_rng(0)
    centers = draws.normal(size=(50, 24))
    vectors = unit(centers[draws.integers(0, 50, 6000)] + 0.5 * draws.normal(size=(6000, 24)))
    texts = unit(centers[:40] + 0.5 * draws.normal(size=(40, 24)))
    described, said = build_approximate(
        vectors, texts, tmp_path / "a.faiss", least_recall=0.95, is_asked=True
    )
    recalls = described["recall_at_10"]
    assert set(recalls) == {"rows", "texts"}
    assert min(recalls.values()) >= 0.95
    assert f"{recalls['texts']:.3f} for texts" in said
    assert described["probes"] < described["lists"] // 4
    built = open_approximate(tmp_path / "a.faiss")
    found = approximate_search(built, described["probes"], vectors, texts, top=10)
    true = exact_search(vectors, texts, top=10, rows=None)
    measured = np.mean([np.isin(t, f).mean() for t, f in zip(true.rows, found.rows, strict=True)])
    assert measured == pytest.approx(recalls["texts"], abs=1e-4)
    np.testing.assert_allclose(found.scores, np.einsum("qkd,qd->qk", vectors[found.rows], texts), atol=1e-6)
    # Without clusters there is nothing to gain, and it is said.
    noise = unit(draws.normal(size=(3000, 64)))
    described, said = build_approximate(
        noise, noise[:0], tmp_path / "b.faiss", least_recall=0.99, is_asked=False
    )
    assert described["probes"] == 0
    assert "stay exact" in said
    assert not (tmp_path / "b.faiss").exists()


def test_an_index_uses_its_approximate_one(model: Model, photos, tmp_path) -> None:  # type: ignore[no-untyped-def]
    pytest.importorskip("faiss", reason="faiss is not installed")
    built = model.index(photos, tmp_path / "photos.index", approximate="always", batch_size=8)
    assert built.manifest.approximate is not None
    assert (built.folder / "approximate-1.faiss").is_file()
    queries = np.asarray(built.vectors[:3], np.float32)
    near, true = built.search(queries, top=3), built.search(queries, top=3, exact=True)
    assert near.rows[:, 0].tolist() == true.rows[:, 0].tolist() == [0, 1, 2]
    assert built.search(queries, top=24).rows.shape == (3, 24)
    never = model.index(photos, tmp_path / "photos.index", approximate="never")
    assert never.manifest.approximate is None
    assert not list(never.folder.glob("*.faiss"))
    assert approximate.is_wanted("auto", 300_001)
    assert not approximate.is_wanted("auto", 300_000)
