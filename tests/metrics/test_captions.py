"""Caption metrics against values worked by hand, the published evaluation's figures, and degenerate input."""

import csv
import json
import math
from pathlib import Path

import pytest

from likewise.metrics.texts.captions import (
    best_constant_caption,
    caption_diversity,
    caption_scores,
    cider_per_image,
    tokenize,
)

SHARED = Path(__file__).parents[2] / ".." / "shared"
ORACLE = SHARED / "oracles" / "captions.json"
FLICKR8K = SHARED / "data" / "flickr8k" / "captions.csv"

needs_oracle = pytest.mark.skipif(not ORACLE.is_file(), reason="no oracle values beside the checkout")
needs_data = pytest.mark.skipif(
    not (ORACLE.is_file() and FLICKR8K.is_file()), reason="Flickr8k's captions are not beside the checkout"
)


def oracle() -> dict:
    return json.loads(ORACLE.read_text(encoding="utf-8"))


def flickr8k() -> dict[str, list[str]]:
    """Validation images in the order of first appearance, each with its captions."""
    found: dict[str, list[str]] = {}
    with FLICKR8K.open(encoding="utf-8") as file:
        for row in csv.DictReader(file):
            if row["split"] != "train":
                found.setdefault(row["image"], []).append(row["caption"])
    return found


@pytest.mark.parametrize(
    ("text", "tokens"),
    [
        ("A man's dog isn't running; it can't stop.", "a man 's dog is n't running it ca n't stop"),
        ("Two girls' dresses (both new).", "two girls dresses -lrb- both new -rrb-"),
        ('A t-shirt says "Hello World!"', "a t-shirt says hello world"),
        ("About 1,000 people at 5:30 p.m. in the U.S.A.", "about 1,000 people at 5:30 p.m. in the u.s.a."),
        ("cannot gonna 'tis", "can not gon na 't is"),
        ("don’t “stop” – now…", "do n't stop now"),
        ("!!! ??? .. ,", "!!! ???"),
        ("", ""),
    ],
)
def test_tokens(text: str, tokens: str) -> None:
    assert tokenize(text) == tokens.split()


@needs_oracle
def test_tokens_are_those_of_the_published_evaluation() -> None:
    for text, tokens in oracle()["tokens"].items():
        assert tokenize(text) == tokens, text


@needs_data
@pytest.mark.parametrize("case", range(5))
def test_scores_are_those_of_the_published_evaluation(case: int) -> None:
    images = list(flickr8k().items())
    name, expected = list(oracle()["scores"].items())[case]
    if case < 2:
        images = images[:100] if case == 0 else images[:1000]
        candidates, references = [c[4] for _, c in images], [c[:4] for _, c in images]
    else:
        following = [c[0] for _, c in images[1:] + images[:1]]
        constants = {2: "a dog runs through the grass", 3: "a man in a red shirt is standing"}
        candidates = [constants[case]] * len(images) if case in constants else following
        references = [c for _, c in images]
    scores = caption_scores(candidates, references)
    assert scores.keys() == expected.keys(), name
    for figure, value in expected.items():
        assert scores[figure] == pytest.approx(value, abs=1e-5), (name, figure)


@needs_data
def test_cider_of_each_image() -> None:
    images = list(flickr8k().items())[:100]
    scores = cider_per_image([c[4] for _, c in images], [c[:4] for _, c in images])
    expected = oracle()["cider_per_image_of_the_first_case"]
    for (name, _), score in zip(images, scores, strict=True):
        if name in expected:
            assert score == pytest.approx(expected[name], abs=1e-5)


def test_bleu_and_rouge_by_hand() -> None:
    scores = caption_scores(["a cat sat"], [["a cat sat down", "the cat"]])
    # 3 of 3 words; closest length: 4 and 2 are equally near, the shorter counts, so no brevity penalty.
    assert scores["bleu1"] == pytest.approx(1.0)
    assert scores["bleu2"] == pytest.approx(1.0)
    assert scores["bleu4"] == 0.0  # there is no sequence of four words
    precision, recall, beta = 1.0, 3 / 4, 1.2**2
    assert scores["rouge_l"] == pytest.approx((1 + beta) * precision * recall / (recall + beta * precision))
    short = caption_scores(["a cat"], [["a cat sat down"]])
    assert short["bleu1"] == pytest.approx(math.exp(1 - 4 / 2))
    clipped = caption_scores(["the the the"], [["the cat sat"]])
    assert clipped["bleu1"] == pytest.approx(1 / 3)


def test_cider_by_hand() -> None:
    # Two images whose references share no word: every n-gram has idf ln 2, and a perfect caption scores 10.
    references = [["a b c d e"], ["v w x y z"]]
    assert cider_per_image(["a b c d e", "v w x y z"], references) == pytest.approx([10.0, 10.0])
    # Words alone in common, in no pair: cosine 1 for n = 1, nothing for n = 2 to 4.
    assert cider_per_image(["e c a d b", "v w x y z"], references)[0] == pytest.approx(10 / 4)
    # One image: every idf is ln 1 = 0.
    assert caption_scores(["a b"], [["a b"]])["cider"] == 0.0


def test_order_of_images_does_not_matter() -> None:
    candidates = ["a dog runs", "two men sit on a bench", "a red bus"]
    references = [["a dog is running"], ["men sit on a bench", "two people"], ["the bus is red"]]
    scores = caption_scores(candidates, references)
    backwards = caption_scores(candidates[::-1], references[::-1])
    assert scores == pytest.approx(backwards)


def test_degenerate_input() -> None:
    with pytest.raises(ValueError, match="got 0 captions and 0 images"):
        caption_scores([], [])
    with pytest.raises(ValueError, match="got 1 captions and 2 images"):
        caption_scores(["a"], [["a"], ["b"]])
    with pytest.raises(ValueError, match="image 1 has no references"):
        caption_scores(["a", "b"], [["a"], []])
    with pytest.raises(ValueError, match="image 0 has no references"):
        caption_scores(["a"], ["a"])  # type: ignore[list-item]
    empty = caption_scores(["", "..."], [["a dog"], ["a cat"]])
    assert set(empty.values()) == {0.0}


def test_diversity() -> None:
    found = caption_diversity(["a dog", "a dog", "a cat runs"], ["a", "dog", "cat", "bird"])
    assert found == {"distinct_share": 2 / 3, "mean_length": 7 / 3, "unused_words": 1 / 4}


def test_best_constant_is_best_of_those_tried() -> None:
    training = [["a dog runs in the grass"], ["a dog runs in the snow"], ["two men sit on a bench"]]
    best = best_constant_caption(training)
    means = {t[0]: caption_scores([t[0]] * 3, training)["cider"] for t in training}
    assert means[best] == max(means.values())
