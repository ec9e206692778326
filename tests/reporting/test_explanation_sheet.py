"""Sheets that explain a match: texts in any language, and long ones."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.figure import Figure

from likewise.model.explanations.explanation import Explanation
from likewise.reporting.sheets import fonts
from likewise.reporting.sheets.explanation_sheet import draw_explanation


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


def test_each_phrase_has_a_panel_before_the_words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    titles: list[list[str]] = []

    def save(figure: Figure, path: Path, **options: Any) -> None:
        titles.append([axis.get_title() for axis in figure.axes if axis.has_data()])
        path.touch()

    monkeypatch.setattr(Figure, "savefig", save)
    picture, found = np.zeros((3, 16, 16), np.uint8), explanation(["a", "red", "circle"])
    phrases = {"red circle": found.phrase(1, 2), "a": found.phrase(0, 0)}
    assert draw_explanation(picture, found, tmp_path / "sheet.png", phrases=phrases) == []
    assert draw_explanation(picture, found, tmp_path / "sheet.png") == []
    words = ["a", "red", "circle"]
    assert titles == [
        ["match 50%", "the whole text", "red circle", "a", *words],
        ["match 50%", "the whole text", *words],
    ]


def test_signs_alone_have_no_map() -> None:
    found = explanation(["a", "dog", ".", "一", "...", "3"])
    assert [word for word, _ in found.word_maps()] == ["a", "dog", "一", "3"]


def test_words_left_out_are_counted(tmp_path: Path) -> None:
    picture = np.zeros((3, 16, 16), np.uint8)
    words = [f"word{number}" for number in range(30)]
    assert draw_explanation(picture, explanation(words), tmp_path / "sheet.png") == [
        "it shows the first 23 of the 30 words that the model read"
    ]
    assert draw_explanation(picture, explanation(words[:23]), tmp_path / "sheet.png") == []


@pytest.mark.parametrize("suffix", ["svg", "pdf", "jpg"])
def test_the_suffix_names_the_format(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"sheet.{suffix}"
    draw_explanation(np.zeros((3, 16, 16), np.uint8), explanation(["a"]), path)
    start = {"svg": b"<?xml", "pdf": b"%PDF", "jpg": b"\xff\xd8"}[suffix]
    assert path.read_bytes().startswith(start)
    assert [file.name for file in tmp_path.iterdir()] == [path.name]
