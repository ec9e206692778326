"""Words and phrases of an explained text."""

from __future__ import annotations

import numpy as np
import pytest

from likewise.encoders.tokenizer import train_tokenizer
from likewise.errors import ConfigError
from likewise.model.explanations.explanation import Explanation
from likewise.model.explanations.phrases import phrase_maps, unread_words


def test_a_phrase_is_the_mean_of_its_words_wherever_they_first_stand_together() -> None:
    tokenizer = train_tokenizer(["red cat"] * 4, vocabulary_size=300, max_tokens=60)
    words = [word for word, _ in tokenizer.word_spans("A red cat, a Red circle, a red circle, 红色")]
    maps = np.random.default_rng(0).random((len(words), 2, 2)).astype(np.float32)
    found = Explanation(words=words, maps=maps, whole=maps[0], probability=0.5)
    phrases = phrase_maps(tokenizer, found, ["red Circle", "cat", "红色", "A red cat"])
    assert list(phrases) == ["red Circle", "cat", "红色", "A red cat"]
    for phrase, (first, last) in zip(phrases, [(5, 6), (2, 2), (12, 13), (0, 2)], strict=True):
        np.testing.assert_allclose(phrases[phrase], maps[first : last + 1].mean(0), rtol=1e-6)
    for wrong in ("red dog", "circle red", "cat circle", " ", "红色的"):
        with pytest.raises(ConfigError, match=rf"phrase '{wrong}'.*A red cat , a Red circle"):
            phrase_maps(tokenizer, found, ["red circle", wrong])


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("red cat " * 4, []),  # eight words and the two frames: just read
        ("red cat " * 4 + "red", ["the model reads 10 tokens; the last word was left out"]),
        ("red cat " * 20, ["the model reads 10 tokens; the last 32 words were left out"]),
        # of these the last that is read is the beginning of a word, and of a sign of three bytes
        ("red " * 7 + "wonderful", ["the model reads 10 tokens; the last word was left out"]),
        ("一只红鸟一只红鸟", ["the model reads 10 tokens; the last 6 words were left out"]),
    ],
)
def test_a_text_that_is_cut_is_said_to_be(text: str, said: list[str]) -> None:
    tokenizer = train_tokenizer(["red cat"] * 4, vocabulary_size=300, max_tokens=10)
    assert unread_words(tokenizer, text) == said
    assert len(tokenizer.encode([text])[0]) <= 10  # the model's own goes on cutting
