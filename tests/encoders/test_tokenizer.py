"""The tokenizer: any Unicode text, frames, cutting, padding, saving."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from likewise.encoders.tokenizer import TextTokenizer, train_tokenizer
from likewise.errors import ConfigError, DataError, ModelError

TEXTS = [
    "A red circle above a blue square.",
    "一个红色的圆在蓝色的方块上面",
    "Ein grüner Stern",
    "red, red, red",
] * 3


@pytest.fixture(scope="module")
def tokenizer() -> TextTokenizer:
    return train_tokenizer(TEXTS, vocabulary_size=400, max_tokens=16)


@pytest.mark.parametrize("text", ["a red circle", "红色的圆", "never seen: ñandú 🦆", "\t odd   spaces "])
def test_nothing_is_unknown(tokenizer: TextTokenizer, text: str) -> None:
    long = train_tokenizer(TEXTS, vocabulary_size=400, max_tokens=100)
    (row,) = long.encode([text])
    assert row[0] == 1
    assert row[-1] == 2
    assert 3 not in row
    assert long.decode(row).split() == text.lower().split()


def test_each_chinese_or_japanese_character_is_a_word() -> None:
    """Clauses come without spaces, and whole ones would be single tokens: nothing in them could be hidden."""
    captions = [
        "一个红色的圆在蓝色的方块上面",
        "一个蓝色的方块在红色的圆下面",
        "照片里有AB和まるい カタチ",
    ] * 9
    tokenizer = train_tokenizer(captions, vocabulary_size=2000, max_tokens=100)
    for caption in captions[:3]:
        spans = tokenizer.word_spans(caption)
        words = [word for word, _ in spans]
        assert "".join(words) == caption.replace(" ", "")
        assert all(len(word) == 1 or word == "AB" for word in words)
        (row,) = tokenizer.encode([caption])
        inside = len(row) - 2
        if " " not in caption:  # a space before a character is a token of no word
            assert [place for _, places in spans for place in places] == list(range(1, 1 + inside))
        assert inside <= len(caption)  # frequent characters are merged from their bytes
        assert tokenizer.decode(row) == caption.lower()


def test_words_with_spaces_are_cut_as_gpt_2_cuts_them() -> None:
    """The same words, and the first as any other: behind a space."""
    from tokenizers import pre_tokenizers

    trained = train_tokenizer(TEXTS, vocabulary_size=400, max_tokens=16)._tokenizer
    plain = pre_tokenizers.ByteLevel(add_prefix_space=True)
    for text in ("a red cross isn't  here 12!", " already", "\ttab", "a\nb", "한국어 문장", "ไทย"):
        ours = trained.pre_tokenizer.pre_tokenize_str(trained.normalizer.normalize_str(text))
        assert [word for word, _ in ours] == [word for word, _ in plain.pre_tokenize_str(text)]


def test_long_texts_are_cut_and_keep_their_end(tokenizer: TextTokenizer) -> None:
    (row,) = tokenizer.encode(["red circle " * 50])
    assert len(row) == 16
    assert row[-1] == 2


def test_rows_are_padded_to_the_longest(tokenizer: TextTokenizer) -> None:
    rows = tokenizer.encode(["red", "a red circle above a blue square"])
    tokens, mask = tokenizer.pad(rows)
    assert tokens.shape == mask.shape == (2, len(rows[1]))
    assert tokens.dtype == np.int64
    np.testing.assert_array_equal(tokens[0][: len(rows[0])], rows[0])
    assert (tokens[0][len(rows[0]) :] == 0).all()
    assert mask.sum() == len(rows[0]) + len(rows[1])


def test_saved_and_loaded_is_the_same(tokenizer: TextTokenizer, tmp_path: Path) -> None:
    tokenizer.save(tmp_path / "tokenizer.json")
    for place in (tmp_path, tmp_path / "tokenizer.json"):
        again = TextTokenizer.load(place, max_tokens=16)
        assert again.pad_id == 0
        for mine, other in zip(tokenizer.encode(TEXTS), again.encode(TEXTS), strict=True):
            np.testing.assert_array_equal(mine, other)
    (tmp_path / "tokenizer.json").write_text("{}")
    with pytest.raises(ModelError, match="is not a tokenizer"):
        TextTokenizer.load(tmp_path, max_tokens=16)
    with pytest.raises(ConfigError, match="cannot load"):
        TextTokenizer.load(tmp_path / "none", max_tokens=16)


@pytest.mark.parametrize("word", ["[PAD]", "[CLS]", "[SEP]", "[MASK]"])
def test_control_tokens_written_in_a_text_are_text(
    tokenizer: TextTokenizer, word: str, tmp_path: Path
) -> None:
    tokenizer.save(tmp_path / "tokenizer.json")
    for one in (tokenizer, TextTokenizer.load(tmp_path, max_tokens=None), tokenizer.uncut()):
        first, *inner, last = one.encode([f"a {word} dog"])[0].tolist()
        assert {first, last} <= set(one.special_ids)
        assert not set(inner) & set(one.special_ids)
        assert one.decode(inner).strip() == f"a {word.lower()} dog"


def test_a_lone_surrogate_is_named(tokenizer: TextTokenizer) -> None:
    with pytest.raises(DataError, match=r"not a valid Unicode text .*'ok \\ud800 bad'"):
        tokenizer.encode(["fine", "ok \ud800 bad"])


class PanicException(BaseException):
    """Of the library, by its name."""


class Panicking:
    """A tokenizer of the library that panics, as with some damaged tokenizer.json."""

    def encode(self, *_: object, **__: object) -> list[object]:
        raise PanicException("no entry found for key")

    encode_batch = decode = encode

    def no_padding(self) -> None: ...

    def enable_truncation(self, length: int) -> None: ...


@pytest.mark.parametrize(
    "use",
    [
        lambda tokenizer: tokenizer.encode(["a"]),
        lambda tokenizer: tokenizer.word_spans("a"),
        lambda tokenizer: tokenizer.decode([1]),
        lambda tokenizer: tokenizer.end_ids,
    ],
)
def test_a_panic_of_the_library_is_a_damaged_tokenizer(use: Callable[[TextTokenizer], object]) -> None:
    with pytest.raises(ModelError, match="the tokenizer is damaged: no entry found for key"):
        use(TextTokenizer(Panicking(), pad_id=0, max_tokens=8))
