"""`likewise explain`: texts in any language, and long ones."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from likewise.cli.explain_command import draw_explanation, left_out
from likewise.data import fonts
from likewise.encoders.tokenizer import train_tokenizer
from likewise.explaining import Explanation


def explanation(words: list[str]) -> Explanation:
    maps = np.ones((len(words), 2, 2), np.float32)
    return Explanation(words=words, maps=maps, whole=maps[0], probability=0.5)


@pytest.mark.parametrize("installed", [True, False])
def test_chinese_words_are_drawn_or_remarked_on(
    installed: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Warnings are errors here: none may leak."""
    if not installed:
        monkeypatch.setattr(fonts, "_NAMES", ("no such font.ttf",))
    picture = np.zeros((3, 16, 16), np.uint8)
    remarks = draw_explanation(picture, explanation(["一只", "红", "bird"]), tmp_path / "sheet.png")
    assert (tmp_path / "sheet.png").stat().st_size > 1000
    assert len(remarks) <= 1
    assert installed or "show as boxes" in remarks[0]


def test_words_left_out_are_counted(tmp_path: Path) -> None:
    picture = np.zeros((3, 16, 16), np.uint8)
    words = [f"word{number}" for number in range(30)]
    assert draw_explanation(picture, explanation(words), tmp_path / "sheet.png") == [
        "it shows the first 23 of the 30 words that the model read"
    ]
    assert draw_explanation(picture, explanation(words[:23]), tmp_path / "sheet.png") == []


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
    model: Any = SimpleNamespace(tokenizer=tokenizer)
    assert left_out(model, text) == said
    assert len(tokenizer.encode([text])[0]) <= 10  # the model's own goes on cutting
