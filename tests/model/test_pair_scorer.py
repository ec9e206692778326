"""Judging pairs by a model of TCL, and re-ranking with it."""

from __future__ import annotations

import warnings
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from small_runs import small_settings

from likewise import train
from likewise.cli.main import main
from likewise.errors import AbilityError, ConfigError, DataError
from likewise.evaluation.context import Context
from likewise.evaluation.registry import evaluate
from likewise.evaluation.tasks.retrieval import RetrievalOptions, pair_judge
from likewise.metrics.relevance import Relevance
from likewise.metrics.reranking import reranked_ranks, reranked_retrieval
from likewise.metrics.retrieval import retrieval
from likewise.model import Model, load
from likewise.runs.folder import RunFolder
from likewise.runs.open import RunData


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return train(small_settings("tcl", steps=2), tmp_path_factory.mktemp("tcl") / "run", show=False).path


@pytest.fixture(scope="module")
def model(run: Path) -> Model:
    return load(run)


def picture(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (40, 40, 3), dtype=np.uint8)


def test_match_gives_probabilities_whatever_stands_beside(model: Model) -> None:
    pictures, texts = [picture(seed) for seed in range(3)], ["a red circle", "two blue squares in a row", "x"]
    together = model.match(pictures, texts)
    assert together.shape == (3,)
    assert ((together > 0) & (together < 1)).all()
    alone = [float(model.match(image, text)[0]) for image, text in zip(pictures, texts, strict=True)]
    np.testing.assert_allclose(together, alone, rtol=1e-4)
    np.testing.assert_allclose(model.match(pictures, "x")[2], together[2], rtol=1e-4)
    np.testing.assert_allclose(model.match(pictures[0], texts)[0], together[0], rtol=1e-4)


@pytest.mark.parametrize(("num_pictures", "num_texts"), [(5, 5), (1, 5), (5, 1)])
def test_pairs_are_read_and_matched_in_batches(
    model: Model, num_pictures: int, num_texts: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    pictures = [picture(seed) for seed in range(num_pictures)]
    texts = ["a red circle", "two blue squares in a row", "x", "a star", "green"][:num_texts]
    whole = model.match(pictures, texts)
    network: Any = model.network
    read: list[int] = []
    image_states = network.image_states

    def watched(pixels: torch.Tensor) -> torch.Tensor:
        read.append(len(pixels))
        return image_states(pixels)

    monkeypatch.setattr(network, "image_states", watched)
    np.testing.assert_allclose(model.match(pictures, texts, batch_size=2), whole, rtol=1e-4)
    assert max(read) <= 2
    with pytest.raises(ValueError, match="batch_size must be at least 1, got 0"):
        model.match(pictures, texts, batch_size=0)


def test_a_judge_that_is_sure_does_not_overflow(model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    network: Any = model.network
    for odds, expected in ((-1000.0, 0.0), (1000.0, 1.0)):
        logits = torch.tensor([[0.0, odds]])
        monkeypatch.setattr(network, "match_logits", lambda *_, logits=logits: logits)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            assert model.match(picture(0), "a red circle").tolist() == [expected]


def test_a_bad_picture_of_a_later_batch_is_named(model: Model) -> None:
    pictures: list[Any] = [picture(0), picture(1), picture(2), b"not a picture"]
    with pytest.raises(DataError, match="image 3"):
        model.match(pictures, ["a"] * 4, batch_size=2)


def test_match_is_what_the_network_says(model: Model) -> None:
    network: Any = model.network
    assert model.tokenizer is not None
    tokens, mask = (
        torch.from_numpy(part) for part in model.tokenizer.pad(model.tokenizer.encode(["a red circle"]))
    )
    pixels = model.pixels(model.stored_squares([picture(0)]))
    with torch.no_grad():
        logits = network.match_logits(network.text_states(tokens, mask), mask, network.image_states(pixels))
    assert float(model.match(picture(0), "a red circle")[0]) == pytest.approx(
        float(logits.softmax(1)[0, 1]), rel=1e-4
    )


def test_what_makes_no_pairs_is_refused(model: Model, run: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="2 images and 3 texts"):
        model.match([picture(0), picture(1)], ["a", "b", "c"])
    with pytest.raises(DataError, match="0 images and 1 texts do not make pairs; give as many of each"):
        model.match([], ["a"])
    with pytest.raises(DataError, match="1 images and 0 texts"):
        model.match(picture(0), [])
    assert model.match([], []).shape == (0,)
    other = load(train(small_settings("simclr", steps=1), tmp_path / "run", show=False).path)
    with pytest.raises(AbilityError, match="cannot match"):
        other.match("not/even/looked/for.jpg", "a")
    dual = SimpleNamespace(abilities=("encode_images", "encode_texts"), config={"method": "clip"})
    context = Context(dual, RunData(model, run).open())  # type: ignore[arg-type]
    with pytest.raises(AbilityError, match=r"this model \(clip\) cannot; leave --rerank out"):
        evaluate(context, "retrieval", RetrievalOptions(rerank=4))


def naive_ranks(queries, candidates, own, theirs, judge, k):  # type: ignore[no-untyped-def]
    ranks = []
    for q, query in enumerate(queries):
        order = sorted(range(len(candidates)), key=lambda c: -float(query @ candidates[c]))
        scores = {c: float(judge(np.array([q]), np.array([c]))[0]) for c in order[:k]}
        order = sorted(order[:k], key=lambda c: -scores[c]) + order[k:]
        right = [place for place, c in enumerate(order, 1) if theirs[c] == own[q]]
        ranks.append(right[0] if right else 0)
    return ranks


@pytest.mark.parametrize("k", [1, 3, 12, 99])
def test_reranking_against_a_loop(k: int) -> None:
    rng = np.random.default_rng(0)
    queries, candidates = (
        rows / np.linalg.norm(rows, axis=1, keepdims=True)
        for rows in (rng.normal(size=(9, 4)), rng.normal(size=(12, 4)))
    )
    own, theirs = rng.integers(0, 6, 9), rng.integers(0, 6, 12)
    table = rng.normal(size=(9, 12)).astype(np.float32)

    def judge(q: np.ndarray, c: np.ndarray) -> np.ndarray:
        return table[q, c]

    relevance = Relevance(torch.from_numpy(own), torch.from_numpy(theirs))
    found = reranked_ranks(
        torch.from_numpy(queries), torch.from_numpy(candidates), relevance, judge=judge, num_judged=k
    )
    assert found.tolist() == naive_ranks(queries, candidates, own, theirs, judge, k)


def test_a_perfect_judge_of_all_candidates_puts_the_right_ones_first() -> None:
    rng = np.random.default_rng(0)
    images, texts = rng.normal(size=(20, 8)), rng.normal(size=(40, 8))
    groups, of = np.arange(20), np.repeat(np.arange(20), 2)

    def judge(image: np.ndarray, text: np.ndarray) -> np.ndarray:
        return (groups[image] == of[text]).astype(np.float32)

    figures = reranked_retrieval(images, texts, groups, of, judge=judge, num_judged=40)
    assert figures["reranked_image_to_text_r1"] == figures["reranked_text_to_image_r1"] == 1
    assert retrieval(images, texts, groups, of)["image_to_text_r1"] < 0.5
    # A judge without opinion ties everything, and ties count against the model.
    blind = reranked_retrieval(
        images, texts, groups, of, judge=lambda i, t: np.zeros(len(i), np.float32), num_judged=40
    )
    assert blind["reranked_image_to_text_r10"] == 0
    with pytest.raises(ValueError, match="at least one"):
        reranked_retrieval(images, texts, groups, of, judge=judge, num_judged=0)


def test_evaluate_reranks_on_request(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["evaluate", str(run), "retrieval", "--rerank", "4", "--device", "cpu"])
    assert "Re-ranked: image to text, R@1" in capsys.readouterr().out
    figures = RunFolder(run).read_json(RunFolder(run).results)["retrieval"]
    assert figures["num_judged"] == 4
    assert 0 <= figures["reranked_text_to_image_r10"] <= 1
    with pytest.raises(SystemExit):
        main(["evaluate", str(run), "collapse", "--rerank", "4", "--device", "cpu"])

    with pytest.raises(SystemExit):
        main(["evaluate", str(run), "retrieval", "--rerank-by", "match", "--device", "cpu"])


def test_reranking_adds_what_the_space_says_already(model: Model, run: Path) -> None:
    """The match's odds and cosine / temperature; by the odds alone on request."""
    held_out = RunData(model, run).open().validation
    assert held_out is not None
    texts = ["a red circle", "two blue squares", "a star"]
    judge = model.judge_dataset(held_out, texts)
    images, places = np.array([0, 3, 1, 1]), np.array([2, 0, 1, 2])
    cosines = (model.encode_dataset_images(held_out)[images] * model.encode_texts(texts)[places]).sum(1)
    temperature = float(model.network.temperature.detach())
    expected = judge(images, places) + cosines / temperature
    np.testing.assert_allclose(judge.posterior(images, places), expected, rtol=1e-4, atol=1e-4)
    splits = RunData(model, run).open()
    with pytest.raises(ConfigError, match="rerank-by must be 'both' or 'match', got 'Match'"):
        RetrievalOptions(rerank=4, rerank_by="Match")  # type: ignore[arg-type]
    context = Context(model, splits)
    both, alone = (
        pair_judge(context, RetrievalOptions(rerank=4, rerank_by=order)) for order in ("both", "match")
    )
    captions = np.arange(len(images))
    np.testing.assert_allclose(
        alone(images, captions), model.judge_dataset(held_out, context.captions)(images, captions)
    )
    assert not np.allclose(both(images, captions), alone(images, captions))
