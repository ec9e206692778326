"""The tokenizer: any Unicode text, frames, cutting, padding, saving."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from likewise.encoders.tokenizer import TextTokenizer, train_tokenizer
from likewise.errors import ConfigError, ModelError

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


def test_frequent_chinese_words_are_merged(tokenizer: TextTokenizer) -> None:
    (row,) = tokenizer.encode(["红色的"])
    assert len(row) < 2 + len("红色的".encode())


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
